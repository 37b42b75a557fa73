import gzip
import hashlib
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from varc.data.classes import ClassEntry, class_ids, data_set_classes, label_of, read_class_list
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


# The ImageNet family


def imagenet_classes(tmp_path, text):
    path = tmp_path / "classes.csv"
    path.write_text("folder,class_id,name\n" + text)
    return read_class_list(path)


def test_a_subset_in_odd_order_has_right_labels_and_says_what_it_leaves_out(tmp_path):
    classes = imagenet_classes(tmp_path, "n03,7,c\nn01,900,a\n")
    for i, folder in enumerate(("n02", "n03", "n01", "n10")):
        save(tmp_path / "val" / folder / f"{folder}_1.png", i)
    spec = {"reader": "image_folder", "root": str(tmp_path / "val")}
    listed, left_out = manifest_and_left_out({**spec, "subset": True}, classes)
    assert [(row.image_id, row.label) for row in listed] == [("n01/n01_1.png", 900), ("n03/n03_1.png", 7)]
    assert left_out == [
        ("n02/n02_1.png", "image", "not in the class list"),
        ("n10/n10_1.png", "image", "not in the class list"),
    ]
    with pytest.raises(InputError, match=r"n02/n02_1\.png: 'n02' is not in the class list.*subset: true"):
        manifest_and_left_out(spec, classes)


def test_numbered_folders_are_their_class_ids():
    """ImageNet-V2's folders are 0..999; sorted as text, 10 would come before 2."""
    listed = read_class_list("config/classes/imagenet100_numbered.csv")
    assert len(listed) == 100
    assert all(int(entry.folder) == entry.class_id for entry in listed)
    names = {entry.class_id: entry.name for entry in read_class_list("config/classes/imagenet1k.csv")}
    assert all(names[entry.class_id] == entry.name for entry in listed)


def test_class_lists_agree_with_imagenets_numbering():
    known = {entry.folder: (entry.class_id, entry.name) for entry in read_class_list("config/classes/imagenet1k.csv")}
    assert sorted(class_id for class_id, _ in known.values()) == list(range(1000))
    sizes = {"imagenet100": 100, "imagenet_a": 200, "imagenet_a100": 100, "imagenet_r": 200, "imagenet_r100": 100}
    for name, size in {**sizes, "objectnet": 125}.items():
        listed = read_class_list(f"config/classes/{name}.csv")
        assert len(listed) == size
        assert all(known[entry.folder] == (entry.class_id, entry.name) for entry in listed)


@pytest.mark.parametrize(
    "lines",
    [
        "a.png n01\nb.png n02\n",
        "b.png\tn02\na.png\tn01\n",
        "ImageId,PredictionString\na,n01 85 1 499 272\nb,n02 1 2 3 4 n02 5 6 7 8\n",
    ],
)
def test_a_flat_folder_takes_its_labels_from_a_file(tmp_path, lines):
    for i, name in enumerate("ab"):
        save(tmp_path / "val" / f"{name}.png", i)
    (tmp_path / "labels.txt").write_text(lines)
    spec = {"reader": "labels_file", "root": str(tmp_path / "val"), "labels": str(tmp_path / "labels.txt")}
    listed = manifest(spec, imagenet_classes(tmp_path, "n01,5,one\nn02,3,two\n"))
    assert [(row.image_id, row.label) for row in listed] == [("a.png", 5), ("b.png", 3)]
    save(tmp_path / "val" / "c.png")
    with pytest.raises(InputError, match=r"labels\.txt: has no line for c\.png"):
        manifest(spec, imagenet_classes(tmp_path, "n01,5,one\nn02,3,two\n"))


@pytest.fixture
def objectnet(tmp_path):
    """Three of its folders: one stands for two ImageNet classes, one for one, one for none."""
    root = tmp_path / "objectnet-1.0"
    for i, folder in enumerate(("alarm_clock", "tie", "air_freshener")):
        for j in range(3):
            save(root / "images" / folder / f"{j}.png", 10 * i + j)
    (root / "mappings").mkdir()
    (root / "mappings" / "folder_to_objectnet_label.json").write_text(
        '{"alarm_clock": "Alarm clock", "tie": "Tie", "air_freshener": "Air freshener"}'
    )
    (root / "mappings" / "objectnet_to_imagenet_1k.json").write_text(
        '{"Alarm clock": "analog clock; digital clock", "Tie": "Windsor tie"}'
    )
    return {"reader": "objectnet", "root": str(root), "classes": "config/classes/objectnet.csv"}


def test_objectnet_maps_several_imagenet_classes_to_one(objectnet):
    classes = read_class_list(objectnet["classes"])
    listed, left_out = manifest_and_left_out(objectnet, classes)
    assert {(row.image_id.split("/")[0], row.label) for row in listed} == {("alarm_clock", 409), ("tie", 906)}
    assert [row.path for row in left_out] == [f"air_freshener/{i}.png" for i in range(3)]
    assert label_of(objectnet, classes) == {409: 409, 530: 409, 906: 906}
    mapping = Path(objectnet["root"]) / "mappings" / "objectnet_to_imagenet_1k.json"
    mapping.write_text('{"Tie": "bow tie, bow-tie, bowtie; cravat"}')
    with pytest.raises(InputError, match="'Tie' stands for 'cravat', which is no name in the class list"):
        manifest(objectnet, classes)
    mapping.unlink()
    with pytest.raises(InputError, match=r"objectnet_to_imagenet_1k\.json: cannot be read"):
        manifest(objectnet, classes)


def test_per_class_takes_the_same_images_whatever_else_is_there(objectnet):
    classes = read_class_list(objectnet["classes"])
    listed, left_out = manifest_and_left_out({**objectnet, "per_class": 2}, classes)
    assert [row.label for row in listed] == [409, 409, 906, 906]
    assert [row.reason for row in left_out].count("beyond per_class") == 2
    chosen = {row.image_id for row in listed if row.label == 409}
    everything = sorted(
        (f"alarm_clock/{i}.png" for i in range(3)), key=lambda image_id: hashlib.sha256(image_id.encode()).digest()
    )
    assert chosen == set(everything[:2])
    assert len(manifest({**objectnet, "per_class": 9}, classes)) == 6


def test_ids_choose_images(folder, tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("zebra/b.png\nant/c.PNG\n")
    classes = read_class_list(folder["classes"])
    listed, left_out = manifest_and_left_out({**folder, "ids": str(path)}, classes)
    assert [row.image_id for row in listed] == ["ant/c.PNG", "zebra/b.png"]
    hidden, other = ("ant/.hidden.png", "file", "hidden"), ("ant/notes.txt", "file", "no picture by its name")
    assert left_out == [hidden, other, ("zebra/a.png", "image", "not in ids")]
    path.write_text("zebra/b.png\nyak/d.png\n")
    with pytest.raises(InputError, match=r"ids\.txt: 1 of 2 ids are no image, first 'yak/d\.png'"):
        manifest({**folder, "ids": str(path)}, classes)


def png(value):
    buffer = io.BytesIO()
    Image.new("L", (8, 8), value).save(buffer, "PNG")
    return buffer.getvalue()


def test_webdataset_tars(tmp_path):
    for shard in range(2):
        with tarfile.open(tmp_path / f"val-{shard}.tar", "w") as tar:
            for i in range(3):
                for name, content in ((f"{i}.png", png(10 * shard + i)), (f"{i}.cls", str(5 - i).encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    spec = {"reader": "webdataset", "root": str(tmp_path)}
    classes = [ClassEntry(str(i), 10 + i, "") for i in range(6)]
    listed = manifest(spec, classes)
    assert [row.image_id for row in listed] == [f"val-{s}.tar:{i}.png" for s in range(2) for i in range(3)]
    assert [row.label for row in listed] == [15, 14, 13] * 2
    assert load_images(spec, listed, 8)[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 11, 12]
    path = tmp_path / "val-1.tar"
    path.write_bytes(b"no tar" * 200)
    with pytest.raises(InputError, match=r"val-1\.tar: cannot be read as a tar"):
        manifest(spec, classes)
    path.unlink()
    (tmp_path / "val-0.tar").unlink()
    with pytest.raises(InputError, match=r"no \*\.tar files"):
        manifest(spec, classes)


def test_parquet_shards_of_the_hub(tmp_path):
    for shard in range(2):
        images = [{"bytes": png(10 * shard + i), "path": f"{i}.png"} for i in range(5)]
        table = pa.table({"image": images, "label": [4 - i for i in range(5)]})
        pq.write_table(table, tmp_path / f"val-{shard}.parquet", row_group_size=2)
    spec = {"reader": "parquet", "root": str(tmp_path)}
    listed = manifest(spec, [ClassEntry(str(i), 10 + i, "") for i in range(5)])
    assert [row.label for row in listed] == [14, 13, 12, 11, 10] * 2
    assert listed[6].image_id == "val-1.parquet:000001"
    assert load_images(spec, listed, 8)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert load_images(spec, listed[7:4:-1], 8)[:, 0, 0, 0].tolist() == [12, 11, 10]
    (tmp_path / "val-1.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"val-1\.parquet: cannot be read as Parquet"):
        manifest(spec, TEN)
