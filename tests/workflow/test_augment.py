"""What a training reads follows from its keys: images where it augments them, and what it is validated on."""

import copy

from configs import DIGITS, ROOT, begun

from workflow.sources import unfit

AUGMENT = {"translate": 1.0, "copies": 2}


def study(folder, **var):
    """A run that trains on pictures of a folder, with some keys of its VAR's training given."""
    config = copy.deepcopy(DIGITS) | {"run": "folders"}
    config["datasets"]["digits_train"] = {
        "reader": "image_folder", "root": str(folder), "classes": str(folder.parent / "classes.csv"), "size": 8
    }  # fmt: skip
    (folder.parent / "classes.csv").write_text("folder,class_id,name\na,0,a\nb,1,b\n")
    config["models"]["base"]["train"]["var"] |= var
    return begun(config)


def train_var(found):
    """The job's rule and parameters, as its rule has them."""
    jobs = found.jobs
    params = {
        "train": jobs.training_settings("base", "var"),
        "dataset": found.run.dataset("digits_train"),
        "validation_dataset": jobs.trained_validation("base", "var"),
    }
    return [("train_var", params)]


def test_images_are_read_again_where_they_are_augmented(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain, augmented = study(tmp_path / "gone"), study(tmp_path / "gone", augment=AUGMENT)
    assert unfit(plain.run, True, train_var(plain), str(ROOT)) is None  # it has their tokens
    message = unfit(augmented.run, True, train_var(augmented), str(ROOT))
    assert message.startswith(f"datasets: digits_train: root: {tmp_path / 'gone'}: no such file or folder")
    assert "checked" not in plain.jobs.train_var_inputs("base")
    assert augmented.jobs.train_var_inputs("base")["checked"] == "results/folders/checked/digits_train.csv"


def test_a_training_reads_what_it_is_validated_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = study(tmp_path)
    found = study(tmp_path, validate="digits_validation", validate_every=10)
    more = set(found.jobs.train_var_inputs("base")) - set(plain.jobs.train_var_inputs("base"))
    assert more == {"validation_manifest", "validation_tokens", "validation_classes"}
    tokens = found.jobs.train_var_inputs("base")["validation_tokens"]
    assert tokens == [
        f"results/folders/tokens/base/digits_validation/clean/{i}.parquet" for i in range(found.run.shards)
    ]
    assert plain.jobs.trained_validation("base", "var") is None
    assert found.jobs.trained_validation("base", "var") == found.run.dataset("digits_validation")
    planned = {(work.dataset, work.rule) for work in found.plan.works if work.model == "base"}
    assert ("digits_validation", "tokenize") in planned
