"""Pictures that cannot be decoded are found all at once, and left out where the data set says so."""

import pytest
from sources import TEN, images_of, picture, samples, structs, write_parquet, write_pictures, write_tar

from varc.data.check import Unreadable, check_all, unreadable
from varc.data.manifest import LeftOut, Listed, first_enlarged, load_images, manifest
from varc.errors import InputError

NAMES = [f"{i % 10}/{i:03d}.png" for i in range(200)]  # more than are checked at once


def damaged(root):
    """Two hundred pictures, three of them damaged: their names."""
    write_pictures(root, NAMES)
    bad = ["3/003.png", "0/070.png", "9/199.png"]
    for name, keep in zip(bad, (0, 40, 50), strict=True):
        (root / name).write_bytes((root / name).read_bytes()[:keep])
    return bad


def test_all_unreadable_images_are_found_in_order(tmp_path):
    bad = damaged(tmp_path)
    spec = {"reader": "image_folder", "root": str(tmp_path)}
    found = unreadable(spec, [(name, str(tmp_path / name)) for name in NAMES])
    assert [one.image_id for one in found] == bad
    assert all(f"{one.image_id}: unreadable image (" in one.reason for one in found)
    whole = [(name, str(tmp_path / name)) for name in NAMES if name not in bad]
    assert unreadable(spec, whole) == []
    assert [one.image_id for one in unreadable({**spec, "border": 4}, whole[:2])] == [name for name, _ in whole[:2]]


def test_pictures_too_small_to_be_cropped_alone_are_found_before_they_are_used(tmp_path):
    write_pictures(tmp_path, NAMES[:2])
    spec = {"reader": "image_folder", "root": str(tmp_path), "size": 9, "resize": "none"}
    listed = [(name, str(tmp_path / name)) for name in NAMES[:2]]
    found = unreadable(spec, listed)
    assert [one.reason for one in found] == [
        f"{name}: 8x8 pixels, less than size 9, and resize is none; leave resize out for the data set, or the image"
        for name in NAMES[:2]
    ]
    assert unreadable(spec | {"size": 8}, listed) == []


def test_a_data_set_of_enlarged_pictures_gets_one_warning(tmp_path):
    write_pictures(tmp_path, NAMES[:2])
    spec = {"reader": "image_folder", "root": str(tmp_path), "size": 8}
    listed = [Listed(name, 0, str(tmp_path / name)) for name in NAMES[:2]]
    assert first_enlarged(spec, listed).startswith(f"{NAMES[0]}: 8x8 pixels are enlarged, the shorter side to 9")
    assert first_enlarged(spec | {"resize": "none"}, listed) is None
    (tmp_path / NAMES[0]).write_bytes(b"damaged")
    assert first_enlarged(spec, listed) is None  # an error where all are checked


def test_one_message_names_them_all(tmp_path):
    check_all("pics", 3, [])
    with pytest.raises(InputError, match=r"pics: 2 of 3 images cannot be read: a: no picture; b: none. .*skip_unread"):
        check_all("pics", 3, [Unreadable("a", "a: no picture"), Unreadable("b", "b: none")])


def test_what_is_skipped_is_in_no_manifest(tmp_path):
    bad = damaged(tmp_path)
    spec = {"reader": "image_folder", "root": str(tmp_path), "skip_unreadable": True}
    listed, left_out = manifest(spec, TEN, promised=200)
    assert [image.image_id for image in listed] == sorted(set(NAMES) - set(bad))
    assert [row.path for row in left_out] == sorted(bad)
    assert all(row.kind == "unreadable" and "unreadable image (" in row.reason for row in left_out)
    assert load_images(spec, listed, 8).shape == (197, 8, 8, 3)


def test_a_data_set_of_unreadable_images_alone_is_an_error(tmp_path):
    write_pictures(tmp_path, ["1/a.png"])
    (tmp_path / "1/a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"no images; expected at least one \(1 left out\)"):
        images_of(tmp_path, skip_unreadable=True)


@pytest.mark.parametrize("reader", ["webdataset", "parquet"])
def test_members_and_rows_are_skipped(tmp_path, reader):
    cut = picture(1)[:40]
    if reader == "webdataset":
        write_tar(tmp_path / "a.tar", [(name, cut if name == "000001.png" else data) for name, data in samples()])
    else:
        write_parquet(tmp_path / "a.parquet", [*structs(1), {"bytes": cut, "path": ""}, *structs(6)[2:]], range(6))
    spec = {"reader": reader, "root": str(tmp_path), "skip_unreadable": True}
    listed, left_out = manifest(spec, TEN)
    assert [image.label for image in listed] == [0, 2, 3, 4, 5]
    (row,) = left_out
    assert isinstance(row, LeftOut) and row.kind == "unreadable" and row.path in {
        "a.tar:000001.png", "a.parquet:000001",
    }  # fmt: skip
