"""No image is lost in silence: it is in the manifest, or in what is left out, or an error names it."""

import os
import re

import pytest
from PIL import Image
from sources import images_of, left_out_of, picture, samples, structs, write_parquet, write_pictures, write_tar

from varc.data import tree
from varc.data.classes import ClassEntry
from varc.data.manifest import empty_classes, manifest
from varc.errors import InputError
from workflow.sources import stamp, stamp_below


def refused(pattern, *arguments, **keys):
    """That a source is refused, by one line."""
    with pytest.raises(InputError, match=pattern) as refusal:
        images_of(*arguments, **keys)
    assert "\n" not in str(refusal.value)


def fresh_stamp(root, **keys):
    stamp_below.cache_clear()
    return stamp({"reader": "image_folder", "root": str(root), **keys})


# Folders


def test_linked_class_folders_are_followed(tmp_path):
    store = write_pictures(tmp_path / "store", [f"{i}/im.png" for i in range(10)])
    root = tmp_path / "data"
    root.mkdir()
    for i in range(10):
        (root / str(i)).symlink_to(store / str(i))
    assert images_of(root, promised=10) == {f"{i}/im.png": i for i in range(10)}
    before = fresh_stamp(root)
    (store / "7" / "im.png").write_bytes(picture(9))
    os.utime(store / "7" / "im.png", ns=(1, 1))
    assert fresh_stamp(root) != before


def test_linked_pictures_are_followed(tmp_path):
    store = write_pictures(tmp_path / "store", ["blob"])
    (tmp_path / "data" / "3").mkdir(parents=True)
    (tmp_path / "data" / "3" / "im.png").symlink_to(store / "blob")
    assert images_of(tmp_path / "data") == {"3/im.png": 3}


def test_links_that_lead_back_end(tmp_path):
    root = write_pictures(tmp_path / "data", ["1/im.png", "2/im.png"])
    (root / "1" / "up").symlink_to(root)
    (root / "2" / "self").symlink_to(".")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path)  # above the root, by a detour
    (root / "2" / "detour").symlink_to(tmp_path / "elsewhere")
    listed, left_out = images_of(root), left_out_of(root)
    assert {"1/im.png", "2/im.png"} <= set(listed) and set(listed.values()) == {1, 2}
    assert left_out["1/up"] == left_out["2/self"] == "a link to a folder that it lies in"
    assert any(path.startswith("2/detour/back/data") for path in left_out)
    assert fresh_stamp(root)


def test_the_same_folder_under_two_names_is_read_twice(tmp_path):
    root = write_pictures(tmp_path / "data", ["1/im.png"])
    (root / "2").symlink_to("1")
    assert images_of(root) == {"1/im.png": 1, "2/im.png": 2}


def test_a_folder_that_may_not_be_read_is_an_error(tmp_path, monkeypatch):
    root = write_pictures(tmp_path / "data", ["1/im.png", "2/im.png"])

    def scandir(path):
        if str(path).endswith("2"):
            raise PermissionError(13, "Permission denied")
        return os_scandir(path)

    os_scandir = os.scandir
    monkeypatch.setattr(tree.os, "scandir", scandir)
    refused(r"data/2: the folder cannot be read \(Permission denied\)", root)
    assert fresh_stamp(root)


def test_dangling_links(tmp_path):
    root = write_pictures(tmp_path / "data", ["1/im.png"])
    (root / ".#notes.txt").symlink_to("me@host.123:456")  # a lock of Emacs
    (root / "notes.txt").symlink_to("absent.txt")
    assert images_of(root) == {"1/im.png": 1}
    assert left_out_of(root) == {".#notes.txt": "hidden", "notes.txt": "a link to absent.txt, which is not there"}
    assert fresh_stamp(root)
    for name in ("1/lost.png", "2"):  # a picture, and what may have been a class
        (root / name).symlink_to("/absent/name")
        refused(f"data/{name}: a link to /absent/name, which is not there", root)
        assert fresh_stamp(root)
        (root / name).unlink()


def test_a_pipe_is_not_waited_for(tmp_path):
    root = write_pictures(tmp_path / "data", ["1/im.png"])
    os.mkfifo(root / "1" / "pipe")
    assert left_out_of(root) == {"1/pipe": "no file"}
    os.mkfifo(root / "1" / "pipe.png")
    refused(r"1/pipe\.png: no file", root)


def test_suffixes(tmp_path):
    kinds = {".png": "PNG", ".avif": "AVIF", ".tga": "TGA"}  # all others are JPEGs
    for i, suffix in enumerate((".jfif", ".jpe", ".JPEG", ".png", ".avif", "", ".tga")):
        (tmp_path / str(i)).mkdir()
        Image.new("L", (8, 8), i).save(tmp_path / str(i) / f"im{suffix}", kinds.get(suffix, "JPEG"))
    assert images_of(tmp_path) == {"0/im.jfif": 0, "1/im.jpe": 1, "2/im.JPEG": 2, "3/im.png": 3}
    assert left_out_of(tmp_path) == dict.fromkeys(("4/im.avif", "5/im", "6/im.tga"), "no picture by its name")


def test_a_hidden_folder_is_one_row(tmp_path):
    root = write_pictures(tmp_path / "data", ["1/im.png", ".git/a.png", ".git/b.png"])
    assert left_out_of(root) == {".git": "hidden"}


def test_a_name_that_is_no_utf8_is_passed_over_by_a_name_that_is(tmp_path):
    root = write_pictures(tmp_path / "data", ["1/im.png"])
    with open(os.fsencode(root) + b"/1/\xff.txt", "w"):
        pass
    assert left_out_of(root) == {r"1/\udcff.txt": "no picture by its name"}


# What is promised


def test_images_is_a_promise(tmp_path):
    root = write_pictures(tmp_path / "data", [f"{i}/im.png" for i in range(3)])
    assert len(images_of(root, promised=3)) == 3
    refused(r"images is 5, but 3 images are there; 7 classes have none, first '3'", root, promised=5)
    refused(r"images is 2, but 3 images are there", root, promised=2)


def test_classes_without_a_picture_are_told(tmp_path):
    root = write_pictures(tmp_path / "data", ["a/im.png", "c/im.png"])
    classes = [ClassEntry(folder, i, folder) for i, folder in enumerate("abcd")]
    listed, _ = manifest({"reader": "image_folder", "root": str(root)}, classes)
    assert empty_classes(listed, {entry.folder: entry.class_id for entry in classes}) == ["b", "d"]


def test_a_labels_file_that_says_more_than_there_is(tmp_path):
    root, labels = write_pictures(tmp_path / "data", ["a.png", "b.png"]), tmp_path / "labels.txt"
    labels.write_text("a.png 1\nlost.png 2\nb.png 3\ngone 4\n")
    refused(r"names 4 pictures, but .*data lacks 2 of them, first 'lost.png' \(line 2\)", root, "labels_file",
            labels=str(labels))  # fmt: skip
    labels.write_text("a 1\nb 2\nc 3\n")  # the first line is no header
    refused("names 3 pictures, but .* lacks 1 of them, first 'c'", root, "labels_file", labels=str(labels))
    labels.write_text("ImageId,PredictionString\na,1 2 3\nb,2 2 3\n")
    assert images_of(root, "labels_file", labels=str(labels)) == {"a.png": 1, "b.png": 2}


def test_a_subset_of_a_labels_file_needs_its_own_pictures_alone(tmp_path):
    root, labels = write_pictures(tmp_path / "data", ["a.png"]), tmp_path / "labels.txt"
    labels.write_text("a.png one\nb.png two\n")
    (tmp_path / "classes.csv").write_text("folder,class_id,name\none,1,One\n")
    keys = {"labels": str(labels), "classes": str(tmp_path / "classes.csv"), "subset": True}
    assert images_of(root, "labels_file", [ClassEntry("one", 1, "One")], **keys) == {"a.png": 1}
    labels.write_text("a.png one\nb.png one\n")
    refused("lacks 1 of them, first 'b.png'", root, "labels_file", [ClassEntry("one", 1, "One")], **keys)


# Tars


def tar_and_offsets(folder):
    import tarfile

    path = write_tar(folder / "s.tar", samples())
    with tarfile.open(path) as tar:
        return path, path.read_bytes(), [member.offset for member in tar.getmembers()]


def cut_tars(whole, at):
    """Damaged copies of a tar whose member begins at `at`, and how each is refused."""
    return {
        "at a member": (whole[:at], "ends at byte .* without the 1024 bytes of zeros"),
        "in a header": (whole[: at + 200], "damaged header at byte"),
        "in data": (whole[: at + 600], "unexpected end of data"),
        "filled with zeros": (whole[:at] + bytes(9000), "zeros from byte .*, more than end a tar"),
        "filled up with zeros": (whole[:at] + bytes(len(whole) + 2 * 10240 - at), "zeros from byte"),
        "a header damaged": (whole[: at + 5] + b"\xff" + whole[at + 6 :], "damaged header at byte"),
        "one block of zeros": (whole[:at] + bytes(512), "without the 1024 bytes of zeros"),
        "two tars in one": (whole + whole, "but more follows; two tars in one"),
        "zeros alone": (bytes(10240), "holds no sample"),
        "nothing": (b"", "cannot be read as a tar"),
    }


@pytest.mark.parametrize("name", cut_tars(b"", 0))
def test_a_tar_must_end_as_a_tar_does(tmp_path, name):
    path, whole, offsets = tar_and_offsets(tmp_path)
    content, message = cut_tars(whole, offsets[6])[name]
    path.write_bytes(content)
    refused(rf"s\.tar: .*{message}", tmp_path, "webdataset")


def test_a_tar_may_end_without_filling_its_record(tmp_path):
    path, whole, _ = tar_and_offsets(tmp_path)
    path.write_bytes(whole.rstrip(b"\0").ljust(-(-len(whole.rstrip(b"\0")) // 512) * 512, b"\0") + bytes(1024))
    assert len(path.read_bytes()) % 10240 and len(images_of(tmp_path, "webdataset")) == 6


@pytest.mark.parametrize("missing", [".png", ".cls"])
def test_a_sample_that_lacks_a_part_is_an_error(tmp_path, missing):
    write_tar(tmp_path / "s.tar", [member for member in samples() if member[0] != f"000003{missing}"])
    refused(r"s\.tar: 000003\.(png|cls) has no ", tmp_path, "webdataset")


# Files that belong together


def test_a_file_that_the_others_promise(tmp_path):
    for i in (0, 2):
        write_parquet(tmp_path / f"test-{i:05d}-of-00003.parquet", structs(), list(range(6)))
    refused(r"there are 3 files, but 1 are missing, first test-00001-of-00003\.parquet", tmp_path, "parquet")
    assert len(images_of(tmp_path, "parquet", files="test-00002*")) == 6
    refused("1 are missing", tmp_path, "parquet", files="test-*")
    write_parquet(tmp_path / "test-00001-of-00003.parquet", structs(), list(range(6)))
    assert len(images_of(tmp_path, "parquet")) == 18


@pytest.mark.parametrize("reader", ["webdataset", "parquet"])
def test_what_stands_beside_the_files_is_told(tmp_path, reader):
    write_tar(tmp_path / "s.tar", samples())
    write_parquet(tmp_path / "s.parquet", structs(), list(range(6)))
    for name in ("README.md", ".hidden.tar", ".hidden.parquet", "more.tar.gz"):
        (tmp_path / name).write_text("x")
    (tmp_path / "deeper").mkdir()
    other = {"webdataset": ".parquet", "parquet": ".tar"}[reader]
    suffix = {"webdataset": ".tar", "parquet": ".parquet"}[reader]
    no = f"no *{suffix} by its name"
    assert left_out_of(tmp_path, reader) == {
        "README.md": no, "more.tar.gz": no, f"s{other}": no, ".hidden.tar": "hidden", ".hidden.parquet": "hidden",
        "deeper": "a folder; only the root's own files are read",
    }  # fmt: skip
    assert fresh_stamp(tmp_path, reader=reader)


def test_the_stamp_is_of_what_is_read(tmp_path):
    root = write_pictures(tmp_path / "data", ["1/im.png"])
    write_tar(root / "s.tar", samples())
    before = {reader: fresh_stamp(root, reader=reader) for reader in ("image_folder", "webdataset", "parquet")}
    assert len(set(before.values())) == 3
    for name in (".DS_Store", "1/Thumbs.db", "README.md"):
        (root / name).write_text("x")
    assert {reader: fresh_stamp(root, reader=reader) for reader in before} == before
    write_pictures(root, ["1/more.png"])
    assert re.fullmatch("[0-9a-f]{64}", before["webdataset"])
    assert [fresh_stamp(root, reader=reader) == old for reader, old in before.items()] == [False, True, True]
