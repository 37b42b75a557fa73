import math
from itertools import pairwise

import numpy as np
import pytest

from varc.metrics.closed_form import Shape
from varc.models.architectures import ARCHITECTURES
from varc.planning import JOB_SECONDS, Speed, Work, given, measured, number_of_shards, plan_rows
from varc.storage import features_schema, fixed_size_list, scores_schema, tokens_schema, write_parquet

SHAPES = {"d16": Shape.of(ARCHITECTURES["var_d16"])}


def score(stage, folder, scales, candidates, classifier="a"):
    return Work("imagenet", classifier, stage, "score", "d16", folder, scales, "float32", candidates)


def encode(classifier="a"):
    return Work("imagenet", classifier, "encoder", "encode", "d16", "features", 0)


FUNNEL = [
    encode(),
    score("stage1", "all/6", 6, 100),
    score("stage2", "10/clean", 10, 10),
    score("stage3", "3/noisy-1", 10, 3),
    score("stage3", "3/noisy-2", 10, 3),
]
VARC = [encode("varc"), score("stage1", "all/10", 10, 100, "varc")]


def rows(works, shards=10, rate=None, images=5000):
    found = plan_rows(works, SHAPES, {"imagenet": images}, shards, rate or given(1e4))
    return {(row["classifier"], row["stage"]): row for row in found}


def test_the_published_costs_are_planned():
    found = rows(FUNNEL + VARC)
    assert found["varc", "total"]["gflops"] == pytest.approx(5000 * 14105.0, rel=1e-5)
    # the paper counts stage 3's clean sample, which is read from stage 2
    assert found["a", "total"]["gflops"] == pytest.approx(5000 * (4649.4 - 3 * 139.97113), rel=1e-5)
    assert found["a", "stage3"]["passes"] == 5000 * 2 * 3


def test_what_classifiers_share_counts_once_for_the_run():
    found = rows(FUNNEL + VARC)
    for key in ("jobs", "gflops", "device_hours", "parquet_bytes"):
        apart = found["a", "total"][key] + found["varc", "total"][key]
        assert found["all", "total"][key] == pytest.approx(apart - found["varc", "encoder"][key])


def test_time_is_work_over_rate_and_a_jobs_start():
    def rate(kind):
        return Speed(1e4, 3.0) if kind.rule == "encode" else Speed(2e4, 1.0)

    found = rows(VARC, shards=7, rate=rate)
    expected = 5000 * 107.866341376 / 1e4 + 7 * 3 + 5000 * 100 * 139.97113344 / 2e4 + 7 * 1
    assert found["varc", "total"]["device_hours"] * 3600 == pytest.approx(expected)
    assert found["varc", "stage1"]["minutes_per_job"] == pytest.approx((5000 * 13997.113344 / 2e4 / 7 + 1) / 60)


def test_shards_are_the_fewest_whose_jobs_are_short_enough():
    images, rate = {"imagenet": 50_000}, given(5e3)
    shards = number_of_shards(VARC, SHAPES, images, rate)
    longest = 50_000 * 13997.113344 / 5e3
    assert longest / shards <= JOB_SECONDS < longest / (shards - 1)
    per_job = rows(VARC, shards, rate, 50_000)["varc", "stage1"]["images_per_job"]
    assert per_job == math.floor(JOB_SECONDS / (13997.113344 / 5e3))
    assert number_of_shards(VARC, SHAPES, {"imagenet": 12}, given(0.01)) == 12
    assert number_of_shards(VARC, SHAPES, {"imagenet": 12}, given(1e9)) == 1


def test_parquet_bytes_are_those_of_files_with_random_numbers(tmp_path):
    random, n = np.random.default_rng(0), 300
    ids = [f"n01440764/ILSVRC2012_val_{i:08d}.JPEG" for i in range(n)]
    log_prob = -10 * random.random((n * 100, 680), dtype=np.float32)
    sizes = np.cumsum([0, *(p * p for p in SHAPES["d16"].patch_nums)])
    per_scale = np.stack([log_prob[:, a:b].sum(1, dtype=np.float64) for a, b in pairwise(sizes)], axis=1)
    columns = {
        "image_id": np.repeat(ids, 100),
        "class_id": np.tile(np.arange(100, dtype=np.int32), n),
        "log_likelihood": per_scale.sum(1),
        "per_scale": fixed_size_list(per_scale),
    }
    write_parquet(tmp_path / "scores", columns, scores_schema(10), {})
    features = random.standard_normal((n, 8192), dtype=np.float32)
    write_parquet(
        tmp_path / "features", {"image_id": ids, "features": fixed_size_list(features)}, features_schema(8192), {}
    )
    tokens = random.integers(0, 4096, (n, 680)).astype(np.uint16)
    write_parquet(tmp_path / "tokens", {"image_id": ids, "tokens": fixed_size_list(tokens)}, tokens_schema(680), {})
    works = [*VARC, Work("imagenet", "varc", "tokens", "tokenize", "d16", "tokens")]
    found = rows(works, images=n)
    for stage, name in (("stage1", "scores"), ("encoder", "features"), ("tokens", "tokens")):
        assert found["varc", stage]["parquet_bytes"] == pytest.approx((tmp_path / name).stat().st_size, rel=0.15)


def test_a_kind_that_was_not_measured_is_named():
    rate = measured({"device": "x", "rates": [{"kind": ["encode", "d16", 0, "float32"], "speed": [5.0, 0.1]}]})
    with pytest.raises(Exception, match=r"rates\.json has no rate of score d16 10 float32"):
        rows(VARC, rate=rate)
