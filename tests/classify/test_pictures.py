"""Pictures of any kind, and which images of a run they are."""

import os

import numpy as np
import pytest
from PIL import Image

from varc.classify.pictures import Images, default_id, pictures
from varc.data.manifest import Listed, columns
from varc.errors import InputError
from varc.explain.pixels import model_pixels
from varc.storage import MANIFEST, write_parquet

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)


@pytest.fixture
def source(tmp_path):
    """A data set of two pictures, with its manifest."""
    for name in ("a/0.png", "b/1.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS if name[0] == "a" else PIXELS[::-1].copy()).save(tmp_path / "data" / name)
    spec = {"reader": "image_folder", "root": str(tmp_path / "data")}
    listed = [Listed(name, i, f"data/{name}") for i, name in enumerate(("a/0.png", "b/1.png"))]
    write_parquet(tmp_path / "datasets.parquet", columns(listed), MANIFEST, {})
    return Images(spec, tmp_path / "datasets.parquet", tmp_path)


def opened(one):
    return np.asarray(one.open())


def test_every_kind_of_picture(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    kinds = [str(tmp_path / "a.png"), tmp_path / "a.png", Image.fromarray(PIXELS), PIXELS]
    found = pictures(kinds, None)
    assert all(np.array_equal(opened(one), PIXELS) and one.image_id is None for one in found)
    assert [one.name for one in found] == [str(tmp_path / "a.png")] * 2 + ["image 2", "image 3"]
    for kind in kinds:  # alone
        assert len(pictures(kind, None)) == 1
    assert [one.image_id for one in pictures(np.stack([PIXELS, PIXELS]), ["x", "y"])] == ["x", "y"]
    assert opened(pictures(PIXELS[..., 0], None)[0]).shape == (8, 9)
    assert pictures([], None) == []


def test_a_path_below_a_root_has_the_runs_image_id(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "data/a")
    os.symlink(tmp_path / "data", tmp_path / "link")
    Image.fromarray(PIXELS).save(tmp_path / "data.png")
    for path in ("0.png", "../a/0.png", tmp_path / "data/a/0.png", tmp_path / "link/a/0.png"):
        assert pictures(path, None, [source])[0].image_id == "a/0.png", path
    assert pictures(tmp_path / "data.png", None, [source])[0].image_id is None
    assert pictures("0.png", ["other"], [source])[0].image_id == "other"
    with_reader = source._replace(spec={"reader": "digits", "split": "test"})
    assert pictures("0.png", None, [with_reader])[0].image_id is None
    objectnet = source._replace(spec={"reader": "objectnet", "root": str(tmp_path)})
    os.rename(tmp_path / "data", tmp_path / "images")
    assert pictures(tmp_path / "images/a/0.png", None, [objectnet])[0].image_id == "a/0.png"


def test_an_image_id_is_the_runs_own_image(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (one,) = pictures("b/1.png", None, [source])
    assert one.image_id == "b/1.png" and np.array_equal(opened(one), PIXELS[::-1])
    with pytest.raises(InputError, match=r"b/2\.png: no such file, nor an image_id of the run's data sets; give the"):
        pictures("b/2.png", None, [source])
    with pytest.raises(InputError, match=r"b/1\.png: no such file, nor an image_id"):
        pictures("b/1.png", None, [source._replace(manifest=tmp_path / "absent.parquet")])


def test_the_default_id_is_of_the_pixels_alone(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    one, other = (default_id(model_pixels(kind, 8)) for kind in (tmp_path / "a.png", Image.fromarray(PIXELS)))
    assert one == other and one.startswith("sha256:") and len(one) == len("sha256:") + 16
    assert default_id(PIXELS[::-1]) != default_id(PIXELS)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ("absent.png", "absent.png: no such file; give the path of a picture"),
        (PIXELS.astype(float), "image 0: an array of float64 in the shape (8, 9, 3); expected uint8, (height, width)"),
        (PIXELS[..., :2], "image 0: an array of uint8 in the shape (8, 9, 2); expected uint8"),
        (np.zeros((0, 4), np.uint8), "image 0: an array in the shape (0, 4) has no pixels"),
        (Image.fromarray(np.full((4, 4), 2, np.int32)), "image 0: grey levels from 2 to 2 in 32 bits"),
        ([3], "image 0: 3: expected a path, a PIL picture or an array"),
        (3, "images: 3: expected paths, PIL pictures or arrays"),
    ],
)
def test_what_is_no_picture_is_named(images, words):
    with pytest.raises(InputError) as error:
        [one.open() for one in pictures(images, None)]
    assert words in str(error.value)


def test_ids_are_one_for_each():
    with pytest.raises(InputError, match="ids: 1 for 2 images; give one for each"):
        pictures([PIXELS, PIXELS], ["a"])
    assert pictures(PIXELS, "a")[0].image_id == "a"
