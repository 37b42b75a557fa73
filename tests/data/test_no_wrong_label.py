"""No label, and no level, is wrong in silence."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from sources import TEN, images_of, picture, samples, structs, tiff, write_parquet, write_pictures, write_tar

from varc.data.classes import ClassEntry
from varc.data.decode import decoded
from varc.data.manifest import load_images, manifest
from varc.data.preprocess import preprocess
from varc.errors import InputError


def refused(pattern, *arguments, **keys):
    """That a source is refused, by one line."""
    with pytest.raises(InputError, match=pattern) as refusal:
        images_of(*arguments, **keys)
    assert "\n" not in str(refusal.value)


# Files of several splits


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("test-00000-of-00001", "train-00000-of-00001"),
        ("test", "train"),
        ("birds-val-0", "birds-train-0"),
        ("validation_00", "eval_00"),
        ("first-00000-of-00001", "second-00000-of-00001"),
    ],
)
@pytest.mark.parametrize("suffix", [".parquet", ".tar"])
def test_files_of_several_splits_are_not_mixed(tmp_path, one, other, suffix):
    reader = {".parquet": "parquet", ".tar": "webdataset"}[suffix]
    for name, first in ((one, 0), (other, 3)):
        if suffix == ".tar":
            write_tar(tmp_path / f"{name}.tar", samples(3, first))
        else:
            write_parquet(tmp_path / f"{name}.parquet", structs(3), [first, first + 1, first + 2])
    refused(r"holds files of several splits, .*; choose by files", tmp_path, reader)
    assert list(images_of(tmp_path, reader, files=f"{one}*").values()) == [0, 1, 2]
    assert list(images_of(tmp_path, reader, files=f"{other}*").values()) == [3, 4, 5]
    assert len(images_of(tmp_path, reader, files="*")) == 6
    refused(rf"no \*{suffix} files that fit files: absent", tmp_path, reader, files="absent-*")


def test_numbered_files_of_one_split_are_one_data_set(tmp_path):
    for i in range(2):
        write_parquet(tmp_path / f"val-{i}.parquet", structs(2), [i, i])
    assert list(images_of(tmp_path, "parquet").values()) == [0, 0, 1, 1]


# What a Parquet file calls its labels


def hub(names, label="label"):
    """The metadata by which the hub names the labels."""
    features = {"image": {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def class_list(folder, text):
    (folder / "classes.csv").write_text("folder,class_id,name\n" + text)
    return str(folder / "classes.csv")


DIGITS = "".join(f"{i},{i},digit {i}\n" for i in range(10))


@pytest.mark.parametrize(
    ("names", "rows", "right"),
    [
        (["digit 7", "digit 3", "digit 1"], DIGITS, False),
        (["7", "3", "1"], DIGITS, False),
        (["digit 0", "digit 1", "digit 2"], DIGITS, True),
        (["0", "1", "2"], DIGITS, True),  # the folders
        (["Digit_0", "DIGIT 1", "digit-2"], DIGITS, True),
        (["digit 7", "digit 3", "digit 1"], "0,7,digit 7\n1,3,digit 3\n2,1,digit 1\n", True),  # the model's numbering
        (["digit 7", "digit 3", "digit 1"], "0,7,digit 7\n1,1,digit 1\n2,3,digit 3\n", False),
        (["tench, Tinca tinca", "goldfish, Carassius auratus", "x"], "0,5,tench\n1,6,goldfish\n2,7,x\n", True),
        (["n01", "n02", "n03"], "0,0,tench\n1,1,goldfish\n2,2,x\n", False),
        (["Caf\u00e9", "b", "c"], "0,0,Cafe\u0301\n1,1,b\n2,2,c\n", True),
    ],
)
def test_names_of_labels_are_held_against_the_class_list(tmp_path, names, rows, right):
    path = write_parquet(tmp_path / "a.parquet", structs(3), [0, 1, 2], metadata=hub(names))
    entries = [ClassEntry(row.split(",")[0], int(row.split(",")[1]), row.split(",")[2]) for row in rows.splitlines()]
    keys = {"entries": entries, "classes": class_list(tmp_path, rows)}
    if right:
        assert list(images_of(tmp_path, "parquet", **keys).values()) == [entry.class_id for entry in entries[:3]]
    else:
        wrong = next(i for i in range(3) if names[i] not in (entries[i].name, entries[i].folder))
        refused(rf"{path}: label {wrong} is '{names[wrong]}', but .*classes\.csv has ", tmp_path, "parquet", **keys)


def test_the_names_are_those_of_the_label_column(tmp_path):
    names, keys = ("img", "fine"), {"image_column": "img", "label_column": "fine"}
    write_parquet(tmp_path / "a.parquet", structs(3), [0, 1, 2], names=names, metadata=hub(["digit 7"], "fine"))
    refused("label 0 is 'digit 7'", tmp_path, "parquet", classes=class_list(tmp_path, DIGITS), **keys)
    write_parquet(tmp_path / "a.parquet", structs(3), [0, 1, 2], names=names, metadata=hub(["digit 7"], "coarse"))
    assert len(images_of(tmp_path, "parquet", classes=class_list(tmp_path, DIGITS), **keys)) == 3


@pytest.mark.parametrize("metadata", [b"{", b"[]", b'{"info": 3}', b'{"info": {"features": {"label": {"names": 3}}}}'])
def test_other_metadata_says_nothing(tmp_path, metadata):
    write_parquet(tmp_path / "a.parquet", structs(3), [0, 1, 2], metadata={b"huggingface": metadata})
    assert len(images_of(tmp_path, "parquet", classes=class_list(tmp_path, DIGITS))) == 3


def test_a_row_without_a_label_is_an_error(tmp_path):
    write_parquet(tmp_path / "a.parquet", structs(3), [0, None, 2])
    refused(r"a\.parquet: row 1 has no label", tmp_path, "parquet", subset=True)


# Files of labels


@pytest.mark.parametrize(
    ("pictures", "lines", "message"),
    [
        (["x/a.png", "y/a.png"], "a.png 1\n", "line 1: 'a.png' fits several pictures, x/a.png and y/a.png"),
        (["a.png", "a.jpg"], "a 1\n", "line 1: 'a' fits several pictures, a.jpg and a.png"),
        (["a.png"], "a.png 1\na.png 2\n", "line 2: 'a.png' stands in line 1 too"),
        (["a.png"], "a.png 1\n\na.png 1\n", "line 3: 'a.png' stands in line 1 too"),
        (["a.png"], "a.png 1\na 2\n", "names 2 pictures, but .* lacks 1 of them, first 'a'"),
        (["a.png"], "a.png\n", "line 1: 'a.png', expected a file name and a folder"),
        (["a.png"], ",1\n", "line 1: ',1', expected a file name and a folder"),
    ],
)
def test_a_line_must_mean_one_picture(tmp_path, pictures, lines, message):
    root, labels = write_pictures(tmp_path / "data", pictures), tmp_path / "labels.txt"
    labels.write_text(lines)
    refused(rf"labels\.txt.*{message}", root, "labels_file", labels=str(labels))


def test_the_most_exact_line_counts(tmp_path):
    root, labels = write_pictures(tmp_path / "data", ["x/a.png", "y/a.png", "z/b.png"]), tmp_path / "labels.txt"
    labels.write_text("x/a.png 1\ny/a 2\nb 3\n")
    assert images_of(root, "labels_file", labels=str(labels)) == {"x/a.png": 1, "y/a.png": 2, "z/b.png": 3}


def test_names_are_the_same_in_both_ways_to_write_an_accent(tmp_path):
    composed, apart = "Caf\u00e9", "Cafe\u0301"
    root, labels, ids = write_pictures(tmp_path / "data", [f"{apart}/{apart}.png"]), tmp_path / "l.txt", tmp_path / "i"
    entries = [ClassEntry(composed, 4, "")]
    labels.write_text(f"\ufeff{composed}.png {composed}\n")
    ids.write_text(f"\ufeff{composed}/{composed}.png\r\n")
    expected = {f"{apart}/{apart}.png": 4}
    assert images_of(root, "labels_file", entries, labels=str(labels), ids=str(ids)) == expected
    assert images_of(root, entries=entries) == expected
    assert images_of(root, entries=[ClassEntry(apart, 4, "")]) == expected


# Tars


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([("000000.jpg", picture())], "sample 000000 has several pictures, 000000.jpg and 000000.png"),
        ([("000000.PNG", picture())], "sample 000000 has several pictures"),
        ([("000000.png", picture())], "sample 000000 has several pictures"),
        ([("000000.CLS", b"3")], r"000000\.cls stands there twice"),
        ([("7.v2.png", picture()), ("7.v2.cls", b"1")], r"7\.v2\.png has no 7\.cls beside it"),
        ([("7.cls", b"1"), ("7.avif", b"?")], r"7\.cls has no picture beside it, but 7\.avif"),
        ([("7.cls", b"1")], r"7\.cls has no picture beside it, but no other file"),
    ],
)
def test_a_sample_has_one_picture_and_one_class(tmp_path, more, message):
    write_tar(tmp_path / "s.tar", [*more, *samples()])
    refused(rf"s\.tar: {message}", tmp_path, "webdataset")


def test_fields_are_what_follows_the_first_dot(tmp_path):
    extra = [("000000.seg.png", b"mask"), ("000001.json", b"{}"), ("__meta__.txt", b""), ("./a.b/7.png", picture())]
    tar = write_tar(tmp_path / "a:b.tar", [*extra, ("./a.b/7.CLS", "\ufeff 9\n".encode()), *samples()])
    expected = {f"a:b.tar:{i:06d}.png": i for i in range(6)} | {"a:b.tar:./a.b/7.png": 9}
    assert images_of(tmp_path, "webdataset") == expected
    spec = {"reader": "webdataset", "root": str(tmp_path)}
    listed, left_out = manifest(spec, TEN)
    assert load_images(spec, listed, 8)[:, 0, 0, 0].tolist() == [0, 0, 1, 2, 3, 4, 5]
    assert {row.path.partition(".tar:")[2] for row in left_out} == {"000000.seg.png", "000001.json", "__meta__.txt"}
    assert tar.exists()


# Levels


GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ((GREY / 255).astype(np.float32), r"im\.tif: grey levels from 0 to 0.988235 in floats, where 0 to 255 is"),
        (GREY.astype(np.int32), r"im\.tif: grey levels from 0 to 252 in 32 bits, where 0 to 65535 is"),
        (GREY.astype(np.uint16), r"im\.tif: grey levels from 0 to 252 in 16 bits"),
        (257.0 * GREY.astype(np.float32), "grey levels from 0 to 64764 in floats"),
        (1000 * GREY.astype(np.int32), "grey levels from 0 to 252000 in 32 bits"),
        (GREY.astype(np.float32) - 128, "grey levels from -128 to 124 in floats"),
        (np.full((8, 8), np.nan, np.float32), "grey levels from nan to nan in floats"),
    ],
)
def test_levels_of_another_scale_are_refused_by_name(tmp_path, pixels, message):
    Image.fromarray(pixels).save(tmp_path / "im.tif")
    with pytest.raises(InputError, match=message):
        decoded(str(tmp_path / "im.tif"), "im.tif")


COLOURS = np.stack([GREY, GREY[::-1], GREY.T], 2)


def test_levels_of_another_depth_than_pillow_takes_them_for(tmp_path):
    for pixels, bits, message in (
        (COLOURS, 16, "levels of 16 bits per colour, none above 255"),
        (16 * GREY.astype(np.uint16), 12, "levels of 12 bits"),
    ):
        with pytest.raises(InputError, match=rf"im\.tif: {message}, which would be seen as black"):
            decoded(io.BytesIO(tiff(pixels, bits)), "im.tif")
    assert np.array_equal(decoded(io.BytesIO(tiff(257 * COLOURS.astype(np.uint16), 16)), "im.tif"), COLOURS)
    assert np.array_equal(decoded(io.BytesIO(tiff(257 * GREY.astype(np.uint16), 16)), "im.tif"), 257 * GREY.astype(int))


@pytest.mark.parametrize(
    "pixels",
    [
        GREY, GREY.astype(np.float32), 257 * GREY.astype(np.int32), 257 * GREY.astype(np.uint16),
        np.zeros((8, 8), np.float32), np.zeros((8, 8), np.int32), np.zeros((8, 8), np.uint16),
    ],
)  # fmt: skip
def test_levels_of_the_scale_are_seen_as_they_are(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "im.tif")
    seen = preprocess(decoded(str(tmp_path / "im.tif"), "im.tif"), 8, 8)
    assert np.array_equal(seen[..., 0], GREY if pixels.any() else np.zeros((8, 8)))
