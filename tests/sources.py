"""Small sources of images for every reader: pictures, tars, Parquet files, idx files."""

import gzip
import io
import struct
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from varc.data.classes import ClassEntry
from varc.data.manifest import manifest

TEN = [ClassEntry(str(i), i, f"class {i}") for i in range(10)]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def picture(value=0, size=(8, 8)):
    """The bytes of a PNG of one grey level."""
    buffer = io.BytesIO()
    Image.new("L", size, value).save(buffer, "PNG")
    return buffer.getvalue()


def write_pictures(root, names, first=0):
    """Pictures by their names below a folder, with growing grey levels."""
    for i, name in enumerate(names, first):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(i))
    return root


def write_tar(path, members):
    """A tar of (name, bytes)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def samples(n=6, first=0):
    """The members of n samples of webdataset; sample i is of class i modulo 10."""
    fields = ((f"{i:06d}", picture(i), str(i % 10).encode()) for i in range(first, first + n))
    return [member for key, png, text in fields for member in ((f"{key}.png", png), (f"{key}.cls", text))]


def structs(n=6):
    """Images as the hub's Parquet files have them."""
    return [{"bytes": picture(i), "path": f"{i}.png"} for i in range(n)]


def write_parquet(path, images, labels, kind=STRUCT, names=("image", "label"), metadata=None, **how):
    """A Parquet file of images and labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({names[0]: pa.array(images, kind), names[1]: labels})
    pq.write_table(table.replace_schema_metadata(metadata) if metadata else table, path, **how)
    return path


def write_idx(path, array):
    """An idx file of unsigned bytes, gzip'd where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(header + array.astype(np.uint8).tobytes())
    return path


def images_of(root, reader="image_folder", entries=TEN, promised=None, **keys):
    """The manifest of a source: image_id -> label."""
    listed, _ = manifest({"reader": reader, "root": str(root), **keys}, entries, promised)
    return {image.image_id: image.label for image in listed}


def left_out_of(root, reader="image_folder", entries=TEN, **keys):
    """What is left out of a source: path -> reason."""
    return {row.path: row.reason for row in manifest({"reader": reader, "root": str(root), **keys}, entries)[1]}


def tiff(pixels, bits):
    """An uncompressed TIFF of grey or RGB pixels with 12 or 16 bits, which Pillow does not write."""
    (height, width), bands = pixels.shape[:2], pixels.shape[2] if pixels.ndim == 3 else 1
    data = pixels.astype("<u2").tobytes()
    if bits == 12:
        pairs = pixels.astype(int).reshape(-1, 2).tolist()
        data = b"".join((one << 12 | other).to_bytes(3, "big") for one, other in pairs)
    behind = 8 + 2 + 8 * 12 + 4  # the header, the tags
    extra = struct.pack("<3H", bits, bits, bits) if bands == 3 else b""
    depth = (258, 3, 3, behind) if bands == 3 else (258, 3, 1, bits)
    colour, first = 2 if bands == 3 else 1, behind + len(extra)
    tags = [(256, 3, 1, width), (257, 3, 1, height), depth, (259, 3, 1, 1), (262, 3, 1, colour), (273, 4, 1, first)]
    tags += [(277, 3, 1, bands), (279, 4, 1, len(data))]
    packed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + packed + struct.pack("<I", 0) + extra + data
