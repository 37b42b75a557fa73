"""Maps of pairs of characters, whose true difference is known: a small run of an untrained VAR on a few real faces."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from job_graph import graph, run_missing
from PIL import Image
from snakemake_runs import ROOT

from varc.data.glyphs.difference import difference
from varc.explain.contrast import patch_means
from varc.explain.tmi import explained_order
from varc.metrics.contrast import localise
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.scoring.likelihood import score
from varc.storage import provenance
from workflow.config.entry import ConfigError
from workflow.record import sources
from workflow.sources import file_sha256
from workflow.start import start

GLYPHS = ROOT / "data" / "glyphs"
PATCH_NUMS = [1, 2, 4]
FEW = 5
CLASSES = str(GLYPHS / "classes.csv")
PAIRS = {"pairs": "pairs.csv", "datasets": ["glyphs"], "models": ["base"]}
METHODS = ["tmi_abs", "tmi", "tmi_randomised", "tmi_abs_randomised", "edge", "ink", "centre", "random", "mean_mask"]
CONFIG = {
    "run": "r",
    "shards": 2,
    "datasets": {"glyphs": {"reader": "parquet", "root": "data", "classes": CLASSES, "size": 32, "resize": "none"}
                 | {"group_column": "group"}},
    "models": {"base": {"vqvae": "vae.pth", "var": "var.pth", "patch_nums": PATCH_NUMS, "norm_groups": 4}},
    "classifiers": {"varc": {"model": "base", "funnel": [{"scales": 3, "keep": 1}]}},
    "evaluate": [{"datasets": ["glyphs"], "classifiers": ["varc"]}],
    "explain": [
        PAIRS | {"methods": METHODS, "gallery": 3},
        PAIRS | {"methods": ["lime"], "budget": 2, "images": FEW},
        PAIRS | {"methods": ["lime", "occlusion"], "budget": 3, "images": FEW},
        PAIRS | {"pairs": "swapped.csv", "methods": ["tmi", "tmi_abs"], "images": FEW},
        {"datasets": ["glyphs"], "models": ["base"], "methods": ["tmi", "lime"], "budget": 2, "images": FEW,
         "target": "label", "against": "unconditional"},
    ],
}  # fmt: skip


def small_models():
    """A VQ-VAE of 32 pixels and a VAR of 100 classes, untrained, that tells classes apart."""
    torch.manual_seed(0)
    shape = {"ch": 8, "ch_mult": (1, 1, 1, 1), "num_res_blocks": 1, "z_channels": 4, "vocab_size": 16, "norm_groups": 4}
    var = VAR(VARConfig(1, 16, 2, 100, 16, 4, tuple(PATCH_NUMS)))
    for weights in var.parameters():
        weights.data = torch.randn(weights.shape) * 0.3
    return VQVAE(VQVAEConfig(patch_nums=tuple(PATCH_NUMS), **shape)), var


def prepare(folder):
    """The first three faces, of two groups, their pairs, and the same with the classes swapped; config and weights."""
    (folder / "data").mkdir()
    table = pq.read_table(GLYPHS / "test" / "glyphs.parquet").slice(0, 300)
    pq.write_table(table, folder / "data" / "glyphs.parquet")
    assert len(set(table["group"].to_pylist())) == 2
    known = pd.read_csv(GLYPHS / "pairs.csv")
    known = known[known["image_id"] < "glyphs.parquet:000300"]
    known.to_csv(folder / "pairs.csv", index=False)
    swapped = known.rename(columns={"target": "against", "against": "target"})
    swapped.drop(columns="counterpart").to_csv(folder / "swapped.csv", index=False)
    for name, model in zip(("vae.pth", "var.pth"), small_models(), strict=True):
        torch.save(model.state_dict(), folder / name)
    (folder / "config.json").write_text(json.dumps(CONFIG))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a run of which all maps of pairs are made, and what tells how true they are."""
    folder = tmp_path_factory.mktemp("contrast")
    prepare(folder)
    run_missing(folder / "config.json", folder, "results/r/gallery/base/glyphs/tmi_abs-pairs.png")
    for target in (
        "tables/contrast.csv",
        *(f"{maps('swapped', name)}/{i}.parquet" for name in ("tmi", "tmi_abs") for i in (0, 1)),
    ):
        run_missing(folder / "config.json", folder, f"results/r/{target}")
    return folder


def maps(pairs, method):
    return f"maps/base/glyphs/{method}/target-of-{pairs}-vs-against-of-{pairs}"


def read_maps(folder, method, pairs="pairs", run="r"):
    files = sorted((folder / "results" / run / maps(pairs, method)).glob("*.parquet"))
    return pd.concat(pd.read_parquet(file) for file in files).set_index("image_id")


def given(folder, name="pairs"):
    return pd.read_csv(folder / f"{name}.csv").set_index("image_id").sort_index()


def arrays(column):
    return np.stack(column.to_numpy())


def pictures(folder):
    table = pq.read_table(folder / "data" / "glyphs.parquet")["image"].to_pylist()
    found = [np.asarray(Image.open(io.BytesIO(image["bytes"]))) for image in table]
    return {f"glyphs.parquet:{i:06d}": picture for i, picture in enumerate(found)}


def group_of(folder):
    return pd.read_parquet(folder / "results/r/datasets/glyphs.parquet").set_index("image_id")["group"]


def masks(folder):
    """The true difference of each pair, and whether the picture has it."""
    drawn = pictures(folder)
    return {i: difference(drawn[i], drawn[row.counterpart]) for i, row in given(folder).iterrows()}


def test_target_and_against_are_the_files_image_by_image(folder):
    for method in METHODS:
        found = read_maps(folder, method)
        pd.testing.assert_frame_equal(
            found[["target", "against"]], given(folder)[["target", "against"]], check_dtype=False
        )


def test_the_first_images_of_the_file_by_the_seeded_hash_are_explained(folder):
    ids = given(folder).index.to_numpy()
    expected = sorted(ids[explained_order(ids, 0)[:FEW]])
    for pairs, method in (("pairs", "lime-b2"), ("pairs", "occlusion"), ("swapped", "tmi")):
        assert read_maps(folder, method, pairs).index.tolist() == expected


def test_the_tokens_contrasts_sum_to_the_difference_of_log_likelihoods(folder):
    vqvae, var = (model.eval() for model in small_models())
    files = sorted((folder / "results/r/tokens").glob("*/glyphs/clean/*.parquet"))
    tokens = pd.concat(pd.read_parquet(file) for file in files).set_index("image_id")["tokens"]
    found = read_maps(folder, "tmi")
    classes = found[["target", "against"]].to_numpy(np.int32)
    scores = score(var, vqvae.quantize, arrays(tokens[found.index]), classes, device=torch.device("cpu")).sum(-1)
    assert arrays(found["per_token"]).sum(1) == pytest.approx(scores[:, 0] - scores[:, 1], abs=1e-3)
    assert np.abs(scores[:, 0] - scores[:, 1]).mean() > 0.1


def test_swapped_classes_flip_tmi_and_leave_tmi_abs(folder):
    for method, sign in (("tmi", -1), ("tmi_abs", 1)):
        swapped = read_maps(folder, method, "swapped")
        own = read_maps(folder, method).loc[swapped.index]
        assert (swapped["target"] == own["against"]).all()
        assert arrays(swapped["map"]) == pytest.approx(sign * arrays(own["map"]), abs=1e-5)


def test_shuffled_weights_are_the_same_for_both_maps(folder):
    found = [arrays(read_maps(folder, f"{name}_randomised")["per_token"]) for name in ("tmi", "tmi_abs")]
    assert np.array_equal(*found)
    assert np.abs(found[0] - arrays(read_maps(folder, "tmi")["per_token"])).max() > 0.01


def test_budgets_have_maps_of_their_own(folder):
    passes = {name: provenance(folder / f"results/r/{maps('pairs', name)}/0.parquet")["passes_per_image"]
              for name in ("lime-b2", "lime-b3", "occlusion", "tmi")}  # fmt: skip
    assert passes == {"lime-b2": 4, "lime-b3": 6, "occlusion": 34, "tmi": 2}


def test_the_mean_mask_knows_no_picture_of_its_own_group(folder):
    found, pairs, groups, known = read_maps(folder, "mean_mask"), given(folder), group_of(folder), masks(folder)
    compared = 0
    for image_id, row in pairs.iterrows():
        alike = pairs[(pairs["target"] == row["target"]) & (pairs["against"] == row["against"])].index
        others = [known[i].mask for i in alike if groups[i] != groups[image_id]]
        mean = np.mean(others, 0) if others else np.zeros((32, 32))
        expected = patch_means(mean[None].astype(np.float32), 4).ravel()
        assert found.loc[image_id, "map"] == pytest.approx(expected, abs=1e-6)
        compared += bool(others)
    assert 0 < compared < len(pairs)


def test_the_table_is_what_the_maps_and_pictures_say(folder):
    table = pd.read_csv(folder / "results/r/tables/contrast.csv")
    known, pairs = masks(folder), given(folder)
    truth, present = np.stack([known[i].mask for i in pairs.index]), np.array([known[i].present for i in pairs.index])
    assert 0 < present.sum() < len(present)
    for method, sign in (("tmi", "signed"), ("tmi", "absolute"), ("tmi_abs", "absolute"), ("mean_mask", "absolute")):
        values = arrays(read_maps(folder, method)["map"]).reshape(-1, 4, 4)
        found = localise(np.abs(values) if sign == "absolute" else values, truth)._asdict()
        for split, which in {"all": present | True, "absent": ~present, "present": present}.items():
            chosen = (table["method"] == method) & (table["sign"] == sign) & (table["split"] == split)
            rows = table[chosen].set_index("measure")
            assert (rows["images"] == which.sum()).all() and (rows["unit"] == "group").all()
            for measure, expected in found.items():
                row = rows.loc[measure]
                assert row["mean"] == pytest.approx(expected[which].mean())
                assert row["low"] <= row["mean"] <= row["high"]
    assert set(table["method"]) == {*METHODS, "lime-b2", "lime-b3", "occlusion"}  # the swapped have no counterparts
    assert set(table["pairs"]) == {"pairs"} and (folder / "results/r/tables/contrast.svg").exists()
    best = table.query("method == 'mean_mask' and measure == 'auc' and split == 'all'").iloc[0]
    assert best["vs_edge"] == pytest.approx(best["mean"] - table.query("method == 'edge'").iloc[0]["mean"])


def test_the_gallery_shows_twice_as_many_images_as_it_says(folder):
    picture = np.asarray(Image.open(folder / "results/r/gallery/base/glyphs/tmi_abs-pairs.png").convert("RGB"))
    assert (picture < 128).any() and picture.shape[1] > picture.shape[0] / 3


def test_shards_change_nothing(folder, tmp_path):
    prepare(tmp_path)
    config = CONFIG | {"shards": 1, "explain": CONFIG["explain"][:1]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    target = "results/r/contrast/base/glyphs/pairs.parquet"
    run_missing(tmp_path / "config.json", tmp_path, target)
    one, two = (pd.read_parquet(place / target) for place in (tmp_path, folder))
    two = two[two["method"].isin(METHODS)].reset_index(drop=True)
    pd.testing.assert_frame_equal(one, two, atol=1e-6)


def test_a_changed_file_reruns_what_is_made_from_it_alone(folder):
    with graph(folder / "config.json", folder) as workflow:
        jobs = [job for job in workflow.dag.jobs if job.rule.script]
        touched = {"pairs.csv"}
        while new := {f for job in jobs if touched & set(job.input) for f in job.output} - touched:
            touched |= new
        rerun = {job.rule.name for job in jobs if touched & set(job.input)}
        assert {job.rule.name for job in jobs if "pairs.csv" in job.input} == {"pairs"}
    assert rerun == {"pairs", "score_tokens", "explain", "attribute", "control", "mean_mask", "localise", "contrast",
                     "contrast_gallery", "pages"}  # fmt: skip
    made = {file for file in touched if "/maps/" in file or "/token_scores/" in file}
    assert made and all("of-pairs" in file for file in made)


def test_the_run_says_with_which_pairs_it_was_made(folder, monkeypatch):
    monkeypatch.chdir(folder)
    found = sources(start([], CONFIG).run)
    assert found["pairs.csv"] == file_sha256("pairs.csv") and "swapped.csv" in found


def changed(folder, text, **keys):
    """The config with one entry that explains by a file of this text."""
    (folder / "bad.csv").write_text(text)
    entry = {key: value for key, value in (PAIRS | {"pairs": "bad.csv", "methods": ["tmi"]} | keys).items() if value}
    return CONFIG | {"explain": [entry]}


GOOD = "image_id,target,against\nglyphs.parquet:000000,0,1\n"
REFUSED = {
    "target beside pairs": (GOOD, {"target": "label"}, "explain: 0: target does not go with pairs, .*take target away"),
    "against beside pairs": (GOOD, {"against": 3}, "explain: 0: against does not go with pairs"),
    "no pairs and no target": (GOOD, {"pairs": None}, "explain: 0: target is missing; an entry of explain"),
    "a class that the list lacks": (
        GOOD.replace(",0,1", ",0,100"), {}, r"explain: 0: pairs: bad\.csv, line 2: against 100 is not in the class list"
    ),
    "a bad line": (GOOD.replace(",0,1", ",1,1"), {}, r"explain: 0: pairs: bad\.csv, line 2: target and against"),
    "no file": (GOOD, {"pairs": "absent.csv"}, r"explain: 0: pairs: absent\.csv: the pairs cannot be read"),
    "a name that paths cannot have": (GOOD, {"pairs": "a b.csv"}, "explain: 0: pairs: 'a b.csv': .*rename it"),
    "a name that ends as a role may": (GOOD, {"pairs": "x-randomised.csv"}, "explain: 0: pairs: .*rename it"),
    "a mean mask without counterparts": (
        GOOD, {"methods": ["mean_mask"]}, r"explain: 0: pairs: bad\.csv has no column counterpart, .* mean_mask is made"
    ),
    "a gallery without counterparts": (GOOD, {"gallery": 2}, "no column counterpart, from which gallery is made"),
    "a mean mask without pairs": (
        GOOD, {"methods": ["mean_mask"], "pairs": None, "target": "label", "against": "unconditional"},
        "explain: 0: mean_mask is the mean of true differences, which pairs tell; add pairs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_explained_is_refused_before_anything_runs(name, folder, monkeypatch):
    text, keys, message = REFUSED[name]
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match=message):
        start([], changed(folder, text, **keys))


def test_two_files_of_one_name_are_refused(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "more").mkdir(exist_ok=True)
    (folder / "more" / "pairs.csv").write_text(GOOD)
    entry = PAIRS | {"pairs": "more/pairs.csv", "methods": ["centre"]}
    with pytest.raises(
        ConfigError, match=r"explain: 1: pairs: more/pairs\.csv: an entry before has pairs\.csv.*rename"
    ):
        start([], CONFIG | {"explain": [PAIRS | {"methods": ["tmi"]}, entry]})


UNFIT = {
    "an image that is not there": (GOOD + "x,1,2\n", "bad.csv, line 3: image_id 'x' is no image of the data set"),
    "a counterpart that does not differ": (
        "image_id,target,against,counterpart\nglyphs.parquet:000000,0,1,glyphs.parquet:000000\n",
        "bad.csv, line 2: counterpart 'glyphs.parquet:000000' shows class 0, not 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_images_that_do_not_fit_are_found_before_anything_that_takes_a_gpu(name, folder):
    text, message = UNFIT[name]
    file = folder / "bad.json"
    file.write_text(json.dumps(changed(folder, text)))
    target = f"results/r/{maps('bad', 'tmi')}/0.parquet"
    with graph(file, folder, [target]) as workflow:
        found = {job.rule.name: job for job in workflow.dag.jobs}
        assert found["pairs"].rule.priority > found["encode"].rule.priority
        assert "results/r/pairs/bad/glyphs.parquet" in found["score_tokens"].input
    with pytest.raises(SystemExit):
        run_missing(file, folder, target)
    assert message in (folder / "results/r/logs/pairs/bad/glyphs.log").read_text()
