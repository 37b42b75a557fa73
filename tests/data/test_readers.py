import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from varc.data.classes import ClassEntry, class_ids, data_set_classes, read_class_list
from varc.data.manifest import columns, load_images, rows
from varc.data.manifest import manifest as manifest_and_left_out
from varc.errors import InputError


def manifest(spec, classes):
    return manifest_and_left_out(spec, classes)[0]


TEN = [ClassEntry(str(i), i, f"class {i}") for i in range(10)]


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def idx(tmp_path):
    """Six hundred training and forty test pictures; each one's first pixel is its index modulo 256."""
    for prefix, n in (("train", 600), ("t10k", 40)):
        pixels = np.zeros((n, 4, 4))
        pixels[:, 0, 0] = np.arange(n) % 256
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", pixels)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", np.arange(n) % 10)
    return {"reader": "idx", "root": str(tmp_path), "split": "test"}


def save(path, value=0, size=(8, 8), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes whose folders' order is not that of their ids, and one class without a folder."""
    save(tmp_path / "images" / "zebra" / "b.png", 10)
    save(tmp_path / "images" / "zebra" / "a.png", 20)
    save(tmp_path / "images" / "ant" / "c.PNG", 30)
    (tmp_path / "images" / "ant" / "notes.txt").write_text("no picture")
    (tmp_path / "images" / "ant" / ".hidden.png").write_text("no picture")
    (tmp_path / "classes.csv").write_text("class_id,folder,name\n3,zebra,Zebra\n7,ant,Ant\n5,yak,Yak\n")
    return {"reader": "image_folder", "root": str(tmp_path / "images"), "classes": str(tmp_path / "classes.csv")}


def test_digits_are_scikit_learns():
    spec = {"reader": "digits", "split": "validation"}
    listed = manifest(spec, data_set_classes(spec))
    images = load_images(spec, listed, 8)
    digits = load_digits()
    for row, image in zip(listed, images, strict=True):
        index = int(row.image_id.removeprefix("digits:"))
        assert row.label == digits.target[index]
        assert np.array_equal(image, np.repeat(np.round(digits.images[index] * 255 / 16)[..., None], 3, axis=2))


def test_idx_test_split_is_the_t10k_files(idx):
    listed = manifest(idx, TEN)
    assert len(listed) == 40
    images = load_images(idx, listed, 4)
    for row, image in zip(listed, images, strict=True):
        index = int(row.image_id.removeprefix("t10k-images-idx3-ubyte.gz:"))
        assert row.label == index % 10
        assert image[0, 0].tolist() == [index] * 3


def test_idx_splits_of_the_train_files_are_disjoint(idx):
    listed = {split: manifest({**idx, "split": split}, TEN) for split in ("train", "validation", "calibration")}
    assert [len(rows) for rows in listed.values()] == [500, 50, 50]
    assert len({row.image_id for rows in listed.values() for row in rows}) == 600


def test_idx_without_gz_is_the_same(idx):
    compressed = manifest(idx, TEN)
    for path in list(Path(idx["root"]).glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    plain = manifest(idx, TEN)
    assert [row.label for row in plain] == [row.label for row in compressed]
    assert np.array_equal(load_images(idx, plain, 4), load_images(idx, compressed, 4))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:50]), "cannot be read as an idx file"),
        (lambda path: write_idx(path, np.zeros((40, 4))), "not an idx file of unsigned bytes in 1 dimensions"),
        (lambda path: path.unlink(), r"labels-idx1-ubyte\.gz: no such file"),
        (
            lambda path: path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1])),
            "holds 39 bytes, its header says 40",
        ),
        (lambda path: write_idx(path, np.zeros(39)), "39 labels, but t10k-images-idx3-ubyte.gz holds 40 images"),
    ],
)
def test_damaged_idx_files_are_named(idx, damage, message):
    damage(Path(idx["root"]) / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(InputError, match=message):
        manifest(idx, TEN)


def test_image_folder_labels_follow_the_class_list_not_the_order(folder):
    listed = manifest(folder, read_class_list(folder["classes"]))
    assert [(row.image_id, row.label) for row in listed] == [("ant/c.PNG", 7), ("zebra/a.png", 3), ("zebra/b.png", 3)]
    assert load_images(folder, listed, 8)[:, 0, 0, 0].tolist() == [30, 20, 10]
    assert class_ids(read_class_list(folder["classes"])) == [3, 5, 7]


def test_a_folder_that_is_not_in_the_class_list_is_an_error(folder):
    save(Path(folder["root"]) / "gnu" / "d.png")
    with pytest.raises(InputError, match="'gnu' is not in the class list"):
        manifest(folder, read_class_list(folder["classes"]))


def test_an_unreadable_picture_is_named(folder):
    path = Path(folder["root"]) / "zebra" / "a.png"
    listed = manifest(folder, read_class_list(folder["classes"]))
    for content in (path.read_bytes()[:40], b"", b"no picture"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"zebra/a\.png: unreadable image"):
            load_images(folder, listed, 8)


def test_a_picture_of_another_size_is_named(folder):
    save(Path(folder["root"]) / "zebra" / "a.png", size=(9, 8))
    listed = manifest(folder, read_class_list(folder["classes"]))
    with pytest.raises(InputError, match=r"zebra/a\.png: 9x8 pixels, but the model takes 8x8"):
        load_images(folder, listed, 8)


def test_an_empty_data_set_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no images"):
        manifest({"reader": "image_folder", "root": str(tmp_path)}, TEN)
    with pytest.raises(InputError, match="no such folder"):
        manifest({"reader": "image_folder", "root": str(tmp_path / "absent")}, TEN)


def test_manifest_rows_survive_parquets_columns(folder):
    import pyarrow as pa

    listed = manifest(folder, read_class_list(folder["classes"]))
    assert rows(pa.table(columns(listed))) == listed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("folder,class_id\na,1\n", "line 2: expected the columns folder, class_id, name"),
        ("folder,class_id,name\na,one,A\n", "line 2: class_id is 'one'"),
        ("folder,class_id,name\na,-1,A\n", "line 2: class_id is '-1'"),
        ("folder,class_id,name\na,1,A\na,2,B\n", "folder a occurs more than once"),
        ("folder,class_id,name\na,1,A\nb,1,B\n", "class_id 1 occurs more than once"),
        ("folder,class_id,name\n", "has no rows"),
        ("", "has no rows"),
    ],
)
def test_wrong_class_lists_are_named(tmp_path, text, message):
    path = tmp_path / "classes.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_class_list(path)
    assert str(path) in str(error.value)
