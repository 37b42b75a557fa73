"""Batches of images that threads load ahead: those of load_images, of every reader."""

import gzip
import io
import os
import struct
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from varc.data import manifest
from varc.data.manifest import Listed, image_batches, load_images
from varc.data.readers import READERS
from varc.errors import InputError
from varc.prefetch import BATCHES_AHEAD, LOADERS

COUNT, SIDE = 23, 8


def png(i):
    """A picture whose pixels are its own."""
    pixels = np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(root):
    for i in range(COUNT):
        path = root / f"class{i % 3}" / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(i))


def write_labels_file(root):
    write_folder(root)
    (root / "labels.txt").write_text("".join(f"{i:02d}.png class{i % 3}\n" for i in range(COUNT)))
    return {"labels": str(root / "labels.txt")}


def write_idx(root):
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE), np.uint8)
    for name, array in (("images-idx3", pixels), ("labels-idx1", np.arange(COUNT, dtype=np.uint8))):
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (root / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return {"split": "test"}


def write_tars(root):
    for first in range(0, COUNT, 10):
        with tarfile.open(root / f"{first:02d}.tar", "w") as tar:
            for i in range(first, min(first + 10, COUNT)):
                for name, content in ((f"{i}.png", png(i)), (f"{i}.cls", b"0")):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def write_parquet(root):
    for first in range(0, COUNT, 10):
        images = [{"bytes": png(i), "path": ""} for i in range(first, min(first + 10, COUNT))]
        pq.write_table(
            pa.table({"image": images, "label": [0] * len(images)}), root / f"{first:02d}.parquet", row_group_size=3
        )


WRITERS = {
    "digits": lambda root: {"split": "validation"},
    "idx": write_idx,
    "image_folder": write_folder,
    "labels_file": write_labels_file,
    "objectnet": lambda root: write_folder(root / "images"),
    "webdataset": write_tars,
    "parquet": write_parquet,
}


@pytest.fixture(params=READERS)
def data(request, tmp_path):
    """A data set of a reader, and what its source lists."""
    spec = {"reader": request.param, "root": str(tmp_path)} | (WRITERS[request.param](tmp_path) or {})
    found = sorted(READERS[request.param].list_images(spec))
    return spec, [Listed(image.image_id, 0, image.path) for image in found]


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path)
    spec = {"reader": "image_folder", "root": str(tmp_path)}
    return spec, [Listed(i.image_id, 0, i.path) for i in sorted(READERS["image_folder"].list_images(spec))]


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_batches_are_the_images_of_load_images(data, batch_size):
    spec, listed = data
    whole = load_images(spec, listed, SIDE)
    found = list(image_batches(spec, listed, SIDE, batch_size))
    assert [len(batch) for batch in found[:-1]] == [batch_size] * (len(found) - 1)
    assert np.array_equal(np.concatenate(found), whole) and len(whole) >= COUNT
    turned = list(image_batches(spec, listed[::-1], SIDE, batch_size))
    assert np.array_equal(np.concatenate(turned)[::-1], whole)


def test_shifts_do_not_depend_on_threads(folder):
    spec, listed = folder
    spec = spec | {"shift": {"name": "gaussian_noise", "severity": 3}, "size": SIDE, "resize": 10, "border": 1}
    whole = load_images(spec, listed, SIDE)
    for _ in range(3):
        assert np.array_equal(np.concatenate(list(image_batches(spec, listed, SIDE, 2))), whole)


def test_at_most_so_many_batches_are_loaded_ahead(folder, monkeypatch):
    spec, listed = folder
    begun, load = [], manifest.opened_images

    def counted(open_image, spec, part, side):
        begun.append(threading.current_thread())
        return load(open_image, spec, part, side)

    monkeypatch.setattr(manifest, "opened_images", counted)
    batches = image_batches(spec, listed, SIDE, 1)
    for taken in range(1, COUNT + 1):
        next(batches)
        wanted = min(taken + BATCHES_AHEAD, COUNT)
        deadline = time.monotonic() + 10
        while len(begun) < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(begun) == wanted
    assert list(batches) == []
    assert len(set(begun)) <= LOADERS and threading.main_thread() not in begun


@pytest.mark.parametrize("damage", ["no picture", "another size", "gone"])
def test_an_error_is_that_of_load_images_at_its_batch(folder, damage):
    spec, listed = folder
    path = Path(listed[9].path)
    if damage == "gone":
        path.unlink()
    elif damage == "no picture":
        path.write_text(damage)
    else:
        Image.new("L", (9, 8)).save(path)
    with pytest.raises(InputError) as expected:
        load_images(spec, listed, SIDE)
    batches = image_batches(spec, listed, SIDE, 2)
    assert sum(len(next(batches)) for _ in range(4)) == 8
    with pytest.raises(InputError) as found:
        next(batches)
    assert str(found.value) == str(expected.value) and path.name in str(found.value)


def test_a_source_that_cannot_be_opened_is_named_at_the_first_batch(tmp_path):
    batches = image_batches({"reader": "idx", "root": str(tmp_path), "split": "test"}, [Listed("x:0", 0, "")], SIDE, 1)
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz: no such file"):
        next(batches)


def open_files(root):
    """The files below a folder that this process has open."""
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if os.path.islink(link) and os.readlink(link).startswith(str(root))]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="says which files are open on Linux alone")
@pytest.mark.parametrize("reader", ["image_folder", "webdataset", "parquet"])
@pytest.mark.parametrize("end", ["left", "exhausted", "failed"])
def test_no_thread_and_no_file_is_left(reader, end, tmp_path):
    WRITERS[reader](tmp_path)
    spec = {"reader": reader, "root": str(tmp_path)}
    listed = [Listed(i.image_id, 0, i.path) for i in sorted(READERS[reader].list_images(spec))]
    batches = image_batches(spec, listed, SIDE if end != "failed" else 9, 2)
    if end == "left":
        next(batches)
        batches.close()
    elif end == "exhausted":
        list(batches)
    else:
        with pytest.raises(InputError, match="8x8 pixels, but the model takes 9x9"):
            next(batches)
    assert open_files(tmp_path) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
