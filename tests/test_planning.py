import math
from itertools import pairwise

import numpy as np
import pytest

from varc.costs.closed_form import Shape, var_parameters
from varc.costs.memory import finetune_bytes
from varc.models.architectures import ARCHITECTURES
from varc.planning import (
    JOB_SECONDS,
    PROCESS_BYTES,
    Speed,
    Work,
    given,
    measured,
    memory_bytes,
    node_bytes,
    number_of_shards,
    plan_rows,
    too_large,
)
from varc.prefetch import BATCHES_AHEAD, LOADERS
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


def finetune(**more):
    """An epoch of CCA by the paper's settings, and two validations of 100 classes."""
    settings = {
        "candidates": 2,
        "reference": True,
        "steps": 5004,
        "batch_size": 256,
        "accumulate": 8,
        "precision": "bf16",
        "scales": 10,
    }
    who = {"classifier": "(training)", "model": "d16"}
    return [
        Work("train", stage="finetune", rule="finetune", folder="models/cca", **who, **settings | more),
        Work("imagenet", "(training)", "validation", "validate", "d16", "models/cca/validation", 10, "float32", 100, 2),
    ]


def rows(works, shards=10, rate=None, images=5000):
    found = plan_rows(works, SHAPES, {"imagenet": images, "train": 1_281_167}, shards, rate or given(1e4))
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


def test_fine_tuning_is_one_job_of_forward_and_backward_passes():
    found = rows(finetune() + VARC)
    training, validation = found["(training)", "finetune"], found["(training)", "validation"]
    assert (training["jobs"], validation["jobs"], found["all", "total"]["jobs"]) == (1, 0, 21)
    # under two labels forward and backward, which count as three passes, and the reference's
    assert training["gflops"] == pytest.approx(5004 * 256 * 2 * (3 + 1) * 139.97113344)
    assert validation["gflops"] == pytest.approx(2 * 5000 * 100 * 139.97113344)
    works = finetune()
    for most, images in ((200, 200), (9000, 5000)):  # of those that are there
        some = rows([works[0], works[1]._replace(most=most)])["(training)", "validation"]
        assert some["gflops"] == pytest.approx(2 * images * 100 * 139.97113344)
    assert found["all", "total"]["minutes_per_job"] == pytest.approx(
        training["minutes_per_job"] + validation["minutes_per_job"]
    )
    assert training["memory_bytes"] == round(finetune_bytes(SHAPES["d16"], 64, "bf16", True))
    assert training["images_per_job"] is None and found["all", "total"]["images_per_job"] <= 5000
    entropy = rows(finetune(candidates=1, reference=False))["(training)", "finetune"]
    assert entropy["gflops"] == pytest.approx(5004 * 256 * 3 * 139.97113344)


def test_processes_share_time_and_memory_and_take_as_many_devices():
    def rate(kind):
        return Speed(1e4, 60.0)

    one, eight = (rows([w._replace(processes=n) for w in finetune()], rate=rate) for n in (1, 8))
    one, eight = one["(training)", "finetune"], eight["(training)", "finetune"]
    assert (eight["minutes_per_job"] - 1) * 8 == pytest.approx(one["minutes_per_job"] - 1)
    assert eight["device_hours"] == pytest.approx(one["device_hours"] + 7 / 60)
    assert eight["memory_bytes"] == round(finetune_bytes(SHAPES["d16"], 8, "bf16", True))


def test_shards_do_not_depend_on_fine_tuning():
    images = {"imagenet": 5000, "train": 1_281_167}
    assert number_of_shards(finetune() + VARC, SHAPES, images, given(1e4)) == number_of_shards(
        VARC, SHAPES, images, given(1e4)
    )


def test_fine_tuning_that_a_card_cannot_hold_is_named():
    works = finetune(accumulate=1, precision="float32") + finetune() + VARC
    (line,) = too_large(works, SHAPES, 79 * 2**30)
    assert line.startswith(
        "models: d16: accumulate 1, precision float32: fine-tuning takes 516.6 GiB, and the GPU has 79"
    )


def test_a_node_holds_tokens_weights_and_checkpoints_and_without_a_gpu_all_else():
    work, d16 = finetune(samples=2)[0], SHAPES["d16"]
    weights, tokens = 4 * var_parameters(d16, 1000), 2 * 2 * 1_281_167 * 680
    one = node_bytes(work, d16, 1_281_167, on_gpu=True)
    assert one == pytest.approx(PROCESS_BYTES + 7 * weights + 3 * tokens)
    eight = node_bytes(work._replace(processes=8), d16, 1_281_167, on_gpu=True)
    assert eight == pytest.approx(8 * (PROCESS_BYTES + 2 * weights + 3 * tokens) + 5 * weights)
    on_cpu = node_bytes(work, d16, 1_281_167, on_gpu=False)
    assert on_cpu == pytest.approx(one + finetune_bytes(d16, 64, "bf16", True))
    assert node_bytes(VARC[1], d16, 500, on_gpu=True) == memory_bytes(VARC[1], d16, 500)


def test_encoding_holds_the_images_of_a_few_batches_and_the_features_of_all():
    per_batch, pixels, features = 16, 3 * 256 * 256, 4 * 32 * 16 * 16
    few, many, more = (memory_bytes(encode(), SHAPES["d16"], n) for n in (16, 1000, 2000))
    assert more - many == pytest.approx(1000 * 2 * features)
    assert many - few == pytest.approx((1 + BATCHES_AHEAD + LOADERS - 1) * per_batch * pixels + 984 * 2 * features)


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
        tmp_path / "features",
        {"image_id": ids, "features": fixed_size_list(features), "pixels_sha256": ids},
        features_schema(8192),
        {},
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
