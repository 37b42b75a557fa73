"""What is wrong with a source is one line that names the file, member or row, and comes when its images are listed."""

import gzip
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sources import TEN, images_of, picture, samples, structs, write_idx, write_parquet, write_pictures, write_tar

from varc.data.classes import read_class_list
from varc.data.manifest import load_images, manifest
from varc.errors import InputError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 436075834\n"
PAGE = b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>"
APPLE = b"\0\5\x16\7Mac OS X" + b"\xa3" * 20


def refused(pattern, *arguments, **keys):
    """That a source is refused, by one line."""
    with pytest.raises(InputError, match=pattern) as refusal:
        images_of(*arguments, **keys)
    assert "\n" not in str(refusal.value)


def loaded(root, reader, **keys):
    """The grey level of every image."""
    spec = {"reader": reader, "root": str(root), **keys}
    return load_images(spec, manifest(spec, TEN)[0], 8)[:, 0, 0, 0].tolist()


# Tars


@pytest.mark.parametrize("name", ["._000000.cls", "._000000.png", "a/._000000.cls", "__MACOSX/000000.cls", ".DS_Store"])
def test_hidden_members_are_passed_over(tmp_path, name):
    write_tar(tmp_path / "s.tar", [(name, APPLE), *samples()])
    spec = {"reader": "webdataset", "root": str(tmp_path)}
    listed, left_out = manifest(spec, TEN)
    assert [image.label for image in listed] == list(range(6))
    assert left_out == [(f"s.tar:{name}", "file", "hidden")]


@pytest.mark.parametrize("text", [b"\xff\xfe", APPLE, b"", b" \n", b"x" * 5000, b"a\0b"])
def test_a_class_that_is_no_text(tmp_path, text):
    write_tar(tmp_path / "s.tar", [("7.png", picture()), ("7.cls", text), *samples()])
    refused(r"s\.tar: 7\.cls: is no text that names a class", tmp_path, "webdataset", subset=True)


def test_a_member_that_links_to_nothing(tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        link = tarfile.TarInfo("7.cls")
        link.type, link.linkname = tarfile.SYMTYPE, "absent.cls"
        tar.addfile(link)
    refused(r"s\.tar: 7\.cls: is no text that names a class", tmp_path, "webdataset")


# Parquet files


def test_other_columns_are_named_and_may_be_chosen(tmp_path):
    write_parquet(tmp_path / "a.parquet", structs(), range(6), names=("img", "fine_label"))
    refused(r"a\.parquet: has no column image, but img, fine_label; set image_column", tmp_path, "parquet")
    refused("has no column label, but img, fine_label; set label_column", tmp_path, "parquet", image_column="img")
    keys = {"image_column": "img", "label_column": "fine_label"}
    assert list(images_of(tmp_path, "parquet", **keys).values()) == list(range(6))
    assert loaded(tmp_path, "parquet", **keys) == list(range(6))


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_plain_bytes_are_images(tmp_path, kind):
    write_parquet(tmp_path / "a.parquet", [picture(i) for i in range(6)], range(6), kind, row_group_size=4)
    assert loaded(tmp_path, "parquet") == list(range(6))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([*structs(4), None, None], "row 4 has no image"),
        (
            [{"bytes": None, "path": f"/x/{i}.png"} for i in range(6)],
            "row 0 has no bytes of an image, but the path /x/0",
        ),
        ([*structs(5), {"bytes": None, "path": None}], "row 5 has no bytes of an image, nor a path"),
    ],
)
@pytest.mark.parametrize("how", [{}, {"row_group_size": 2}, {"write_statistics": False}])
def test_images_that_are_not_there(tmp_path, images, message, how):
    write_parquet(tmp_path / "a.parquet", images, range(6), **how)
    refused(rf"a\.parquet: {message}", tmp_path, "parquet")


def test_plain_bytes_that_are_not_there(tmp_path):
    write_parquet(tmp_path / "a.parquet", [picture(), None], [0, 1], pa.binary())
    refused(r"a\.parquet: row 1 has no image", tmp_path, "parquet")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("image", ["a.png"], "column image holds string, expected binary or"),
        ("image", [{"path": "a.png"}], "column image holds struct"),
        ("label", [1.0], "column label holds double, expected whole numbers or text"),
        ("label", [[1]], "column label holds list"),
    ],
)
def test_columns_of_another_type(tmp_path, column, values, message):
    pq.write_table(pa.table({"image": [picture()], "label": [1]} | {column: values}), tmp_path / "a.parquet")
    refused(rf"a\.parquet: {message}", tmp_path, "parquet")


def test_a_column_twice(tmp_path):
    table = pa.Table.from_arrays([pa.array([picture()]), pa.array([0]), pa.array([1])], ["image", "label", "label"])
    pq.write_table(table, tmp_path / "a.parquet")
    refused("has no column label, but image, label, label", tmp_path, "parquet")


@pytest.mark.parametrize("labels", [pa.array(["3", "1"]).dictionary_encode(), pa.array(["3", "1"], pa.large_string())])
def test_labels_as_text(tmp_path, labels):
    write_parquet(tmp_path / "a.parquet", structs(2), labels)
    assert list(images_of(tmp_path, "parquet").values()) == [3, 1]


# Files in the place of others


def write_idx_files(root, damage=lambda content: content):
    random = np.random.default_rng(0)
    for name, array in (("images-idx3", random.integers(0, 255, (300, 8, 8))), ("labels-idx1", np.arange(300) % 10)):
        path = write_idx(root / f"t10k-{name}-ubyte.gz", array)
        path.write_bytes(damage(path.read_bytes()))


def middle_damaged(content):
    middle = len(content) // 2
    return content[:middle] + b"\xff" * 8 + content[middle + 8 :]


@pytest.mark.parametrize(
    "damage", [middle_damaged, lambda content: content[:-6], lambda content: content[:-4] + b"none"]
)
def test_damaged_gzip_is_found_when_listing(tmp_path, damage):
    write_idx_files(tmp_path)
    assert len(images_of(tmp_path, "idx", split="test")) == 300
    for name in ("images-idx3", "labels-idx1"):
        write_idx_files(tmp_path)
        path = tmp_path / f"t10k-{name}-ubyte.gz"
        path.write_bytes(damage(path.read_bytes()))
        refused(rf"t10k-{name}-ubyte\.gz: cannot be read as an idx file", tmp_path, "idx", split="test")


def test_a_header_that_promises_no_pixels(tmp_path):
    write_idx_files(tmp_path)
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", np.zeros((300, 0, 8)))
    refused("images of 8 x 0 pixels", tmp_path, "idx", split="test")


@pytest.mark.parametrize(("content", "message"), [(POINTER, "a Git LFS pointer, .*git lfs pull"), (PAGE, "a web page")])
def test_pointers_and_web_pages_are_named_as_what_they_are(tmp_path, content, message):
    for reader, name in (("webdataset", "a.tar"), ("parquet", "a.parquet"), ("idx", "t10k-images-idx3-ubyte")):
        root = tmp_path / reader
        write_idx(root / "t10k-labels-idx1-ubyte", np.arange(3))
        (root / name).write_bytes(content)
        refused(rf"{name}: cannot be read as .* \({message}", root, reader, split="test")
    root = write_pictures(tmp_path / "pictures", ["1/a.png"])
    (root / "1/a.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"1/a\.png: unreadable image \({message}"):
        loaded(root, "image_folder")
    write_tar(tmp_path / "t" / "a.tar", [("1.png", content), ("1.cls", b"1")])
    with pytest.raises(InputError, match=rf"a\.tar:1\.png: unreadable image \({message}"):
        loaded(tmp_path / "t", "webdataset")
    for key in ("ids", "labels"):
        (tmp_path / "list").write_bytes(content)
        keys = {"labels": str(tmp_path / "list"), key: str(tmp_path / "list")}
        refused(rf"list: the .* cannot be read \({message}", root, "labels_file", **keys)
    with pytest.raises(InputError, match=rf"list: the class list cannot be read \({message}"):
        read_class_list(tmp_path / "list")


@pytest.mark.parametrize(("reader", "name"), [("webdataset", "a.tar"), ("parquet", "a.parquet")])
def test_links_to_nothing_in_the_place_of_files(tmp_path, reader, name):
    (tmp_path / name).symlink_to("/absent/file")
    refused(rf"{name}: cannot be read as .*No such file", tmp_path, reader)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    refused(r"no \*\.\w+ files", tmp_path, reader)
    (tmp_path / name).rmdir()
    os.mkfifo(tmp_path / name)
    refused(rf"{name}: is a pipe, a socket or a device", tmp_path, reader)


@pytest.mark.parametrize("reader", ["webdataset", "parquet", "image_folder", "idx", "objectnet"])
def test_a_root_that_is_not_there(tmp_path, reader):
    classes = {"entries": read_class_list("config/classes/objectnet.csv")} if reader == "objectnet" else {}
    refused("absent", tmp_path / "absent", reader, split="test", **classes)
    (tmp_path / "absent").write_text("a file")
    refused("absent", tmp_path / "absent", reader, split="test", **classes)


def test_what_is_damaged_after_the_listing_is_named_by_row_and_member(tmp_path):
    write_tar(tmp_path / "t" / "a.tar", samples())
    write_parquet(tmp_path / "p" / "a.parquet", structs(), range(6))
    for reader, root in (("webdataset", tmp_path / "t"), ("parquet", tmp_path / "p")):
        spec = {"reader": reader, "root": str(root)}
        listed = manifest(spec, TEN)[0]
        (path,) = root.iterdir()
        for content in (b"", path.read_bytes()[:1000], None):
            path.write_bytes(content) if content is not None else path.unlink()
            with pytest.raises(InputError, match=r"a\.(tar|parquet)") as refusal:
                load_images(spec, listed, 8)
            assert "\n" not in str(refusal.value)


def test_gzip_in_the_place_of_a_tar(tmp_path):
    path = write_tar(tmp_path / "a.tar", samples())
    path.write_bytes(gzip.compress(path.read_bytes()))
    refused(r"a\.tar: cannot be read as a tar", tmp_path, "webdataset")


def test_a_class_list_in_another_code_page_or_with_a_mark(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("\ufefffolder,class_id,name\na,1,A\n", encoding="utf-8")
    assert read_class_list(path) == [("a", 1, "A")]
    path.write_text("folder,class_id,name\na,1,A\n", encoding="utf-16")
    with pytest.raises(InputError, match=r"classes\.csv: the class list cannot be read"):
        read_class_list(path)
    path.write_text("folder,class_id,name\nCaf\u00e9,1,A\nCafe\u0301,2,B\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"folder Caf\u00e9 occurs more than once"):
        read_class_list(path)


def test_class_lists_that_say_too_much(tmp_path):
    path = tmp_path / "classes.csv"
    for text, message in (
        ("folder,class_id,name\na,99999999999,A\n", "line 2: class_id is"),
        ("folder;class_id;name\na;1;A\n", "expected the columns folder, class_id, name"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_class_list(path)


@pytest.mark.parametrize("content", ["[]", "3", '{"1": ["one"]}', '{"1": null}', "{", "[" * 100_000])
@pytest.mark.parametrize("name", ["folder_to_objectnet_label", "objectnet_to_imagenet_1k"])
def test_mappings_of_objectnet_that_are_none(tmp_path, content, name):
    write_pictures(tmp_path / "images", ["1/a.png"])
    (tmp_path / "mappings").mkdir()
    for other in ("folder_to_objectnet_label", "objectnet_to_imagenet_1k"):
        (tmp_path / "mappings" / f"{other}.json").write_text('\ufeff{"1": "class 1"}' if other != name else content)
    refused(rf"{name}\.json: (cannot be read|expected a JSON object)", tmp_path, "objectnet")
