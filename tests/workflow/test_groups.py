"""Images of one writer hang together: a small run on digits in groups, from Parquet files to every table."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from job_graph import run_missing
from PIL import Image
from sklearn.datasets import load_digits

from varc.metrics.intervals import share_interval
from varc.metrics.paired import paired_difference
from varc.metrics.robustness import is_right
from varc.seal import read_json
from varc.storage import read_groups, read_parquet

WRITERS, IMAGES = 40, 8  # of each
DATA_SETS = ("train", "calibration", "test")
VQVAE = {"patch_nums": [1, 2, 3, 4], "ch": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "z_channels": 8, "vocab_size": 32}
STEPS = {"steps": 60, "batch_size": 16, "lr": 0.003}
DATA = {"reader": "parquet", "root": "data", "classes": "classes.csv", "size": 8, "resize": 8}
CONFIG = {
    "run": "r",
    "datasets": {name: {**DATA, "split": name, "group_column": "writer"} for name in DATA_SETS},
    "models": {"base": {"train": {"data": "train", "vqvae": {**VQVAE, "norm_groups": 4, **STEPS}}
                        | {"var": {"depth": 1, "width": 32, "heads": 2, **STEPS}}}},
    "baselines": {"vit": {"family": "vit", "train": {"data": "train", **STEPS}}
                  | {"shape": {"image_size": 8, "patch_size": 4, "width": 16, "depth": 1, "heads": 2}}},
    "classifiers": {
        "varc": {"model": "base", "funnel": [{"scales": 4, "keep": 1}]},
        "adaptive": {"model": "base", "calibrate": "calibration", "funnel": [{"adaptive": {"alpha": 0.5}}]},
        "careful": {"model": "base", "calibrate": "calibration", "funnel": [{"adaptive": {"alpha": 0.05}}]},
        "vit": {"baseline": "vit"},
    },
    "evaluate": [{"datasets": ["test"], "classifiers": ["varc", "adaptive", "careful", "vit"]}],
    "shifts": [{"dataset": "test", "classifiers": ["varc", "vit"], "names": ["inverted"], "severities": [1, 5]}],
    "ablation": "varc",
    "explain": [{"datasets": ["test"], "models": ["base"], "methods": ["tmi", "random"], "target": "label"}
                | {"against": "unconditional", "faithfulness": {"steps": 2}}],
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    digits, n = load_digits(), WRITERS * IMAGES
    writers = np.arange(n) % WRITERS  # each lies in both files
    (folder / "data").mkdir()
    (folder / "classes.csv").write_text("folder,class_id,name\n" + "".join(f"{i},{i},{i}\n" for i in range(10)))
    for file, rows in enumerate(np.array_split(np.arange(n), 2)):
        images = [png(np.round(digits.images[i] * (255 / 16)).astype(np.uint8)) for i in rows]
        names = pa.array([f"writer {i}" for i in writers[rows]]).dictionary_encode()
        columns = {"image": images, "label": digits.target[rows], "writer": names}
        pq.write_table(pa.table(columns), folder / "data" / f"{file}.parquet")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    run_missing(folder / "config.json", folder, "all")
    return folder / "results/r"


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def table(results, name):
    return pd.read_csv(results / "tables" / f"{name}.csv")


def test_no_writer_is_in_two_splits(results):
    groups = {name: set(read_parquet(results / f"datasets/{name}.parquet")["group"].to_pylist()) for name in DATA_SETS}
    assert {name: len(found) for name, found in groups.items()} == {"train": 22, "calibration": 4, "test": 10}
    assert len(set().union(*groups.values())) == 36  # four are for validation
    assert pq.read_table(results / "datasets/test.parquet")["image_id"][0].as_py().startswith("0.parquet:")


def test_every_table_has_intervals_over_groups_and_says_so(results):
    names = "accuracy main main_paired robustness robustness_paired pruning adaptive ablation explanation"
    for name in names.split():
        own = table(results, name)
        assert (own["unit"] == "group").all(), name
    predictions = {
        name: read_parquet(results / f"predictions/{name}/test.parquet").to_pandas() for name in ("varc", "vit")
    }
    rights = {name: is_right(found) for name, found in predictions.items()}
    groups = read_groups(results / "datasets/test.parquet")
    accuracy = table(results, "accuracy").set_index(["dataset", "classifier"])
    for name, right in rights.items():
        row = accuracy.loc["test", name]
        assert (row["top1_low"], row["top1_high"]) == pytest.approx(share_interval(right.to_numpy(), groups))
    paired = table(results, "main_paired").set_index(["classifier", "against"]).loc["vit", "varc"]
    expected = paired_difference(rights["vit"].to_numpy(), rights["varc"].to_numpy(), groups)._asdict()
    assert {key: paired[key] for key in expected} == pytest.approx(expected)


def test_the_adaptive_table_says_what_is_promised_of_groups_and_what_they_need(results):
    known = read_json(results / "thresholds/base/calibration/adaptive0.5-calibration.json")
    rows = table(results, "adaptive").query("classifier == 'adaptive'").set_index("alpha")
    assert (known["unit"], known["units_needed"]) == ("group", 2) and 2 <= known["units"] <= 4
    assert (rows["calibration_unit"] == "group").all() and (rows["calibration_units"] == known["units"]).all()
    needed = {0.001: 1110, 0.002: 555, 0.005: 222, 0.01: 110, 0.02: 55, 0.05: 22, 0.1: 10, 0.5: 2}
    assert rows["calibration_units_needed"].to_dict() == needed
    too_few = rows[rows["calibration_units"] < rows["calibration_units_needed"]]
    assert len(too_few) == 7 and (too_few["of_varc"] == 1).all() and (too_few["group_risk"] == 0).all()
    assert 0 < rows["groups"].iloc[0] <= 10 and (rows["group_risk_low"] <= rows["group_risk_high"]).all()
    assert rows.loc[0.5, "of_varc"] < 1


def test_a_promise_that_so_few_groups_cannot_give_is_told(results):
    """Nothing is dropped, and the log says how many groups there are, and how many it takes."""
    name = "adaptive0.05-calibration"
    known = read_json(results / f"thresholds/base/calibration/{name}.json")
    assert known["thresholds"] == [None] * 4 and known["units_needed"] == 22
    log = (results / f"logs/calibrate/base/calibration/{name}.log").read_text()
    assert (
        f"alpha 0.05: {known['units']} groups with a right prediction, and it takes 22: no class is ever dropped" in log
    )
