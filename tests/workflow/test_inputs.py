"""Data as it comes, through the job that lists it: right labels and a list of what is left out, or one line."""

import json
import re

import pandas as pd
import pyarrow.parquet as pq
import pytest
import sources
import yaml
from job_graph import run_missing
from snakemake_runs import copy_project, default_config, plan, snakemake, write_config


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("inputs") / "project")


CLASSES = "folder,class_id,name\n" + "".join(f"{i},{i},digit {i}\n" for i in range(10))


def config_of(project, folder, images=None, shards=1, **spec):
    """A config that evaluates one data set, whose root is folder/data."""
    (project / "digits.csv").write_text(CLASSES)
    config = default_config(project)
    config["run"], config["shards"] = f"inputs{shards}" if shards > 1 else "inputs", shards
    for part in ("vqvae", "var"):
        config["models"]["base"]["train"][part]["steps"] = 2
    spec = {"reader": "image_folder", "root": str(folder / "data"), "classes": "digits.csv"} | spec
    config["datasets"]["pics"] = spec | {"size": 8, "resize": 8} | ({"images": images} if images else {})
    config["evaluate"] = [{"datasets": ["pics"], "classifiers": ["varc"]}]
    return write_config(project, config)


def manifest_of(project, folder, **spec):
    """Runs the job that lists a data set. Its manifest and what it leaves out."""
    target = project / "results/inputs/datasets/pics.parquet"
    target.unlink(missing_ok=True)
    config = config_of(project, folder, **spec)
    run_missing(project / config, project, str(target.relative_to(project)))
    return pq.read_table(target).to_pandas(), pd.read_csv(target.with_name("pics_left_out.csv"))


def linked_classes(folder):
    sources.write_pictures(folder / "store", [f"{i}/im.png" for i in range(10)])
    (folder / "data").mkdir()
    for i in range(10):
        (folder / "data" / str(i)).symlink_to(folder / "store" / str(i))


def emacs_lock(folder):
    sources.write_pictures(folder / "data", ["1/a.png", "1/.#b.png"])
    (folder / "data" / ".#notes.txt").symlink_to("me@host.123:456")


def two_splits(folder):
    for name, first in (("test", 0), ("train", 3)):
        path = folder / f"data/{name}-00000-of-00001.parquet"
        sources.write_parquet(path, sources.structs(3), [first, first + 1, first + 2])


def other_columns(folder):
    sources.write_parquet(folder / "data/a.parquet", sources.structs(3), [5, 6, 7], names=("img", "fine_label"))


def hidden_members(folder):
    more = [("._000000.cls", b"\0\5\x16\7" + b"\xa3" * 20), ("000000.seg.png", sources.picture())]
    sources.write_tar(folder / "data/s.tar", [*more, *sources.samples(3)])


PARQUET, TARS = {"reader": "parquet"}, {"reader": "webdataset"}
READ = {  # what is written, the data set's keys, the labels, what is left out
    "linked classes": (linked_classes, {"images": 10}, range(10), []),
    "a lock of Emacs": (emacs_lock, {"images": 1}, [1], [".#notes.txt", "1/.#b.png"]),
    "one of two splits": (two_splits, PARQUET | {"files": "train-*"}, [3, 4, 5], ["test-00000-of-00001.parquet"]),
    "other columns": (other_columns, PARQUET | {"image_column": "img", "label_column": "fine_label"}, [5, 6, 7], []),
    "hidden members": (hidden_members, TARS, [0, 1, 2], ["s.tar:._000000.cls", "s.tar:000000.seg.png"]),
}


@pytest.mark.parametrize("name", READ)
def test_sources_are_read_whole(project, tmp_path, name):
    write, spec, labels, left_out = READ[name]
    folder = tmp_path / "of {braces} [and] more"
    folder.mkdir()
    write(folder)
    listed, others = manifest_of(project, folder, **spec)
    assert listed["label"].tolist() == list(labels)
    assert list(others.columns) == ["path", "kind", "reason"] and others["path"].tolist() == left_out


def a_tar_cut(folder):
    path = sources.write_tar(folder / "data/s.tar", sources.samples(20))
    path.write_bytes(path.read_bytes()[: 20 * 1024 + 200])


def contradicting_names(folder):
    features = {"label": {"names": ["digit 7", "digit 3", "digit 1"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    sources.write_parquet(folder / "data/a.parquet", sources.structs(3), [0, 1, 2], metadata=metadata)


def paths_alone(folder):
    sources.write_parquet(folder / "data/a.parquet", [{"bytes": None, "path": "/x/0.png"}], [0])


REFUSED = {  # what is written, the data set's keys, the message
    "a tar that is cut": (a_tar_cut, TARS, r"s\.tar: cannot be read as a tar \(.*download it again"),
    "two splits": (two_splits, PARQUET, "holds files of several splits, test .*, train .*; choose by files"),
    "names that contradict": (contradicting_names, PARQUET, "label 0 is 'digit 7', but .* has 'digit 0'"),
    "other columns": (other_columns, PARQUET, "has no column image, but img, fine_label; set image_column"),
    "paths alone": (paths_alone, PARQUET, r"row 0 has no bytes of an image, but the path /x/0\.png"),
    "fewer images": (linked_classes, {"images": 11}, "images is 11, but 10 images are there"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_faults_are_one_line_of_the_job_that_lists(project, tmp_path, capsys, name):
    write, spec, message = REFUSED[name]
    write(tmp_path)
    with pytest.raises(SystemExit):
        manifest_of(project, tmp_path, **spec)
    said = capsys.readouterr().err
    assert re.search(rf"\[manifest .*error: .*{message}", said) and "Traceback" not in said, said


def test_what_appears_beside_the_pictures_reruns_nothing(project, tmp_path):
    sources.write_pictures(tmp_path / "data", [f"{i}/im.png" for i in range(10)])
    config, target = config_of(project, tmp_path), "results/inputs/datasets/pics.parquet"
    (project / target).unlink(missing_ok=True)
    assert snakemake(project, target, "--configfile", config).code == 0
    for name in (".DS_Store", "3/Thumbs.db", "README.md"):
        (tmp_path / "data" / name).write_text("x")
    assert not plan(project, target, "--configfile", config).jobs
    sources.write_pictures(tmp_path / "data", ["3/more.png"])
    assert plan(project, target, "--configfile", config).jobs == {"manifest": 1}


@pytest.mark.long
def test_one_image_more_is_told_before_and_after_the_list_is_made_again(project, tmp_path):
    paths = [f"{i}/im.png" for i in range(10)]
    sources.write_pictures(tmp_path / "data", paths)
    target = "results/inputs/datasets/pics.parquet"
    (project / target).unlink(missing_ok=True)
    config, log = config_of(project, tmp_path, images=10), project / "results/inputs/logs/manifest/pics.log"
    assert snakemake(project, target, "--configfile", config).code == 0
    assert " than the " not in log.read_text()
    sources.write_pictures(tmp_path / "data", ["3/more.png"])
    (tmp_path / "data/0/im.png").unlink()
    planning = yaml.safe_load((project / config).read_text()) | {"gflops_per_second": 100}
    planned = snakemake(project, "plan", "--configfile", write_config(project, planning))
    assert f"pics: files in {tmp_path / 'data'} have changed since {target} was made" in planned.output
    assert snakemake(project, target, "--configfile", config).code == 0
    said = "pics: 1 more (3/more.png) and 1 less (0/im.png) than the 10 images of results/inputs/datasets/pics.parquet"
    assert said in log.read_text()
    planned = snakemake(project, "plan", "--configfile", write_config(project, planning))
    assert "have changed since" not in planned.output


def test_the_log_counts_classes_without_an_image(project, tmp_path):
    sources.write_pictures(tmp_path / "data", ["1/a.png", "1/notes.txt", "3/b.png"])
    manifest_of(project, tmp_path)
    log = (project / "results/inputs/logs/manifest/pics.log").read_text()
    assert "2 images, 0 left out" in log and "8 of 10 classes have no image, first '0'" in log
    assert "1 files are passed over; results/inputs/datasets/pics_left_out.csv has each" in log


# Pictures that cannot be decoded


def damaged_pictures(folder):
    """Twenty-four pictures, three of them damaged: their names."""
    names = [f"{i % 10}/{i:02d}.png" for i in range(24)]
    sources.write_pictures(folder / "data", names)
    bad = [names[i] for i in (2, 9, 20)]
    for name, keep in zip(bad, (0, 40, 50), strict=True):
        (folder / "data" / name).write_bytes((folder / "data" / name).read_bytes()[:keep])
    return bad


def test_all_bad_pictures_of_a_data_set_are_named_before_any_is_encoded(project, tmp_path, capsys):
    bad = damaged_pictures(tmp_path)
    config = config_of(project, tmp_path, shards=4)
    with pytest.raises(SystemExit):
        run_missing(project / config, project, "results/inputs4/features/base/pics/0.parquet")
    said = capsys.readouterr().err
    (line,) = (line for line in said.splitlines() if "3 of 24 images cannot be read" in line)
    assert line.startswith("[check_data ") and all(f"data/{name}: unreadable image" in line for name in bad)
    assert "say skip_unreadable: true" in line and "Traceback" not in said
    assert not list((project / "results/inputs4").rglob("features/*/pics/*.parquet"))


def test_no_job_that_reads_pictures_comes_before_their_check(project, tmp_path):
    damaged_pictures(tmp_path)
    assert not plan(project, "check_images", "--configfile", config_of(project, tmp_path, skip_unreadable=True)).files
    config = config_of(project, tmp_path, shards=2)
    planned = plan(project, "results/inputs2/tables/accuracy.csv", "--configfile", config).jobs
    assert planned["check_shard"] == 2 and planned["check_data"] == 1


@pytest.mark.long
def test_skipped_pictures_are_listed_and_counted(project, tmp_path):
    bad = damaged_pictures(tmp_path)
    listed, others = manifest_of(project, tmp_path, skip_unreadable=True, images=24)
    assert len(listed) == 21 and not set(bad) & set(listed["image_id"])
    assert others["path"].tolist() == sorted(bad) and set(others["kind"]) == {"unreadable"}
    assert "3 images cannot be read and are skipped" in (project / "results/inputs/logs/manifest/pics.log").read_text()
    record = json.loads(pq.read_schema(project / "results/inputs/datasets/pics.parquet").metadata[b"varc"])
    assert (record["images"], record["left_out"]) == (21, 0)
    config = config_of(project, tmp_path, skip_unreadable=True)
    run = snakemake(project, "results/inputs/tables/accuracy.csv", "--configfile", config)
    assert run.code == 0, run.output
    accuracy = pd.read_csv(project / "results/inputs/tables/accuracy.csv")
    assert accuracy[["dataset", "images", "skipped"]].to_numpy().tolist() == [["pics", 21, 3]]
