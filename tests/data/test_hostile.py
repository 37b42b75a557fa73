"""Sources made to harm: of any claimed size, nested without end, that are waited for, or that steer a terminal."""

import csv
import gzip
import io
import os
import pickle
import resource
import socket
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from varc.baselines.discriminative import read_config as read_public_config
from varc.classify.runs import read_record
from varc.data.classes import data_set_classes, objectnet_classes, read_class_list
from varc.data.decode import decoded
from varc.data.found import Found
from varc.data.lists import read_list
from varc.data.manifest import LeftOut, manifest
from varc.data.readers import list_images, open_images
from varc.errors import InputError, brief
from varc.files import write_csv
from varc.logs import job_log
from varc.metrics.published import read_published
from varc.models.headers import positions
from varc.models.states import read_state
from varc.models.weights import read_card, read_weights

ROOT = Path(__file__).parents[2]
STEERING = "\x1b[2J\x9b\u202e\u2028\u2066\r\n\t\x00\x7f"


@pytest.fixture(autouse=True)
def little_memory():
    """Eight GB more than there are: what takes a claimed size fails, and does not take the machine with it."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**33, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def spec(reader, root, **keys):
    classes = root.parent / "classes.csv"
    classes.write_text("folder,class_id,name\n0,0,A\n1,1,B\n")
    split = {"split": "test"} if reader == "idx" else {}
    return {"reader": reader, "root": str(root), "classes": str(classes), "size": 8, **split, **keys}


def refused(message, reader, root, **keys):
    """Listing, or opening the images, must end with one message."""
    given = spec(reader, root, **keys)
    with pytest.raises(InputError, match=message) as error:
        open_image = open_images(given)
        for found in list(list_images(given)):
            open_image(found)
    assert str(error.value).isprintable() and len(str(error.value)) < 1000


def picture():
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "png")
    return content.getvalue()


# what is waited for


def special(path, kind):
    """A pipe, a socket or a device, or a link to one."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        os.mkfifo(path.with_name("the pipe"))
        path.symlink_to("the pipe")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    return path


READS = {
    "class list": read_class_list,
    "labels": lambda path: read_list(path, "the labels", "labels"),
    "published": lambda path: read_published(path, ["top1"]),
    "picture": lambda path: decoded(str(path), str(path)),
    "weights": read_state,
    "own weights": lambda path: read_weights(path, {}),
    "card": lambda path: read_card(path.with_suffix(".pth")),
    "record": lambda path: read_record(path.parent),
    "mapping": lambda path: objectnet_classes(path.parents[1], []),
}
NAMES = {"card": "a.json", "record": "config.yaml", "mapping": "mappings/folder_to_objectnet_label.json"}


@pytest.mark.parametrize("kind", ["pipe", "link", "socket", "device"])
@pytest.mark.parametrize("what", READS)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, monkeypatch, what, kind):
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    path = Path(NAMES.get(what, "a.pth"))
    path.parent.mkdir(exist_ok=True)
    with pytest.raises(InputError, match=r"a pipe|a socket|a device"):
        READS[what](special(path, kind))


@pytest.mark.parametrize("kind", ["pipe", "link"])
@pytest.mark.parametrize(
    ("reader", "name"), [("webdataset", "a.tar"), ("parquet", "a.parquet"), ("image_folder", "0/0.png")]
)
def test_what_is_no_file_in_a_root_is_refused(tmp_path, reader, name, kind):
    path = tmp_path / "root" / name
    path.parent.mkdir(parents=True)
    special(path, kind)
    refused(r"(a pipe|no file|which is not there)", reader, tmp_path / "root")


def test_a_pipe_in_the_place_of_weights_tells_no_positions(tmp_path):
    for name in ("a.pth", "a.safetensors"):
        assert positions(special(tmp_path / name, "pipe")) is None


def test_a_picture_that_became_a_pipe_is_refused(tmp_path):
    (tmp_path / "0.png").write_bytes(picture())
    (tmp_path / "0.png").unlink()
    os.mkfifo(tmp_path / "0.png")
    open_image = open_images(spec("image_folder", tmp_path))
    with pytest.raises(InputError, match=r"0\.png: unreadable image \(it is a pipe"):
        open_image(Found("0.png", "0", str(tmp_path / "0.png")))


def test_the_command_line_refuses_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    os.mkfifo(tmp_path / "a.pth")
    command = [sys.executable, "-m", "varc", "explain", "a.png", "--vqvae", "a.pth", "--var", "a.pth"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "a.pth: the weights cannot be read, since it is a pipe" in done.stderr


# claimed sizes


def sparse_tar(path, member, claimed):
    """A tar whose member claims any size, by the GNU format of sparse files, with 512 bytes of data."""
    header = bytearray(tarfile.TarInfo(member).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"%011o\0" % 512
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[482] = 0
    header[483:495] = b"\x80" + claimed.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    plain = tarfile.TarInfo(f"{member.partition('.')[0]}.cls")
    plain.size = 1
    path.write_bytes(bytes(header) + b"x" * 512 + plain.tobuf() + b"0" + bytes(511) + bytes(1024))
    assert path.stat().st_size < 4096


def test_a_sparse_tar_that_claims_a_terabyte(tmp_path):
    (tmp_path / "root").mkdir()
    sparse_tar(tmp_path / "root" / "a.tar", "0.png", 2**40)
    refused(r"a\.tar: cannot be read as a tar \(0\.png is a sparse file", "webdataset", tmp_path / "root")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE])
def test_a_tar_with_holes_on_disk_that_claims_a_terabyte(tmp_path, kind):
    (tmp_path / "root").mkdir()
    member = tarfile.TarInfo("0.png")
    member.size, member.type = 2**40, kind
    with open(tmp_path / "root" / "a.tar", "wb") as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**41)
    refused(r"a\.tar: cannot be read as a tar \(.*1099511627776", "webdataset", tmp_path / "root")


def test_a_class_in_a_tar_that_claims_a_terabyte(tmp_path):
    (tmp_path / "root").mkdir()
    sparse_tar(tmp_path / "root" / "a.tar", "0.cls", 2**40)
    refused(r"0\.cls.*sparse file", "webdataset", tmp_path / "root")


def idx(root, counts, content=b"", zipped=False):
    root.mkdir()
    images = struct.pack(">4B3I", 0, 0, 8, 3, *counts) + content
    labels = struct.pack(">4BI", 0, 0, 8, 1, counts[0])
    for name, data in (("t10k-images-idx3-ubyte", images), ("t10k-labels-idx1-ubyte", labels)):
        (root / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(data) if zipped else data)
    return root


def test_idx_files_with_huge_counts(tmp_path):
    refused(
        "its header says 79228162458924105385300197375 bytes, more than", "idx", idx(tmp_path / "a", (2**32 - 1,) * 3)
    )


@pytest.mark.slow
def test_a_gzip_that_holds_a_thousand_times_its_size(tmp_path):
    root = idx(tmp_path / "a", (1, 2, 2), bytes(4), zipped=True)
    with gzip.open(root / "t10k-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">4BI", 0, 0, 8, 1, 1))
        for _ in range(3000):
            file.write(bytes(2**20))
    assert (root / "t10k-labels-idx1-ubyte.gz").stat().st_size < 4e6
    refused("holds more bytes, its header says 1", "idx", root)


def png(width, height):
    """A PNG that claims so many pixels, without them."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_picture_of_too_many_pixels(tmp_path):
    for size in ((65_535, 65_535), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(InputError, match=r"a\.png: unreadable image"):
            decoded(io.BytesIO(png(*size)), "a.png")


def test_a_picture_file_with_a_hole_of_a_terabyte(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match=r"it has 1099511627776 bytes, more than the \d+ that are read"):
        decoded(str(tmp_path / "a.png"), "a.png")


def test_a_picture_that_a_program_would_draw_is_not_opened(tmp_path):
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"unreadable image \(cannot identify"):
        decoded(str(tmp_path / "a.png"), "a.png")


@pytest.mark.parametrize("what", ["class list", "labels", "published", "card", "record", "mapping"])
def test_texts_with_a_hole_of_a_terabyte(tmp_path, what):
    path = tmp_path / NAMES.get(what, "a.pth")
    path.parent.mkdir(exist_ok=True)
    with open(path, "wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match=r"it has 1099511627776 bytes, more than the \d+ that are read"):
        READS[what](path)


def parquet(root, images, labels, **options):
    root.mkdir()
    table = pa.table({"image": images, "label": labels})
    pq.write_table(table, root / "a.parquet", store_schema=False, **options)
    return root


def test_a_parquet_file_of_one_image_in_a_million_rows(tmp_path):
    """One MB of random bytes, which is no picture, a hundred thousand times: 100 GB, in one MB."""
    rows, content = 100_000, picture() + os.urandom(10**6)
    many = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([content]))
    root = parquet(tmp_path / "a", many, np.zeros(rows, np.int64))
    assert (root / "a.parquet").stat().st_size < 2e6
    given = spec("parquet", root)
    found = list(list_images(given))
    assert len(found) == rows and open_images(given)(found[-1]).size == (8, 8)


def test_a_parquet_file_of_one_label_in_a_million_rows(tmp_path):
    rows, one = 100_000, "x" * 10**6
    labels = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([one]))
    images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([picture()]))
    found = list(list_images(spec("parquet", parquet(tmp_path / "a", images, labels))))
    assert (len(found), len(found[-1].folder)) == (rows, 10**6)


def test_a_parquet_file_of_too_many_rows(tmp_path):
    rows = 10_000_001
    images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([b"x"]))
    root = parquet(tmp_path / "a", images, np.zeros(rows, np.int8))
    refused(r"it has 10000001 rows, more than the 10000000", "parquet", root)


# weights


def test_a_tensor_that_claims_more_than_its_file(tmp_path):
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a claims \(1000000, 1000000\), more than the file holds"):
        read_state(tmp_path / "a.pth")


def test_weights_that_unpack_to_more_than_they_are(tmp_path):
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "a.pth", "w") as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name), zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"is compressed, which torch.save never does"):
        read_state(tmp_path / "a.pth")


def test_weights_that_hold_themselves(tmp_path):
    content = {}
    content["model"] = content
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(InputError, match="holds no state dict"):
        read_state(tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "b.pth", "w") as archive:
        archive.writestr("b/data.pkl", pickle.dumps(content))
    assert positions(tmp_path / "b.pth") is None


@pytest.mark.parametrize("header", [b"[" * 200_000, b'{"a":' * 200_000, b'{"a": {"shape": [1], "dtype": "F32"}}'])
def test_a_safetensors_header_made_to_harm(tmp_path, header):
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert positions(tmp_path / "a.safetensors") is None
    with pytest.raises(InputError, match="the weights cannot be read"):
        read_state(tmp_path / "a.safetensors")


@pytest.mark.parametrize("content", ["[" * 200_000, '{"a":' * 200_000, "[]", '{"a": ' + "1" * 5000 + "}", "null", "1"])
def test_a_card_made_to_harm(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=r"a\.json: damaged"):
        read_card(tmp_path / "a.safetensors")


def test_a_public_configuration_nested_without_end(tmp_path):
    (tmp_path / "config.json").write_text("[" * 200_000)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match=r"config\.json: cannot be read"):
        read_public_config(tmp_path, object())


@pytest.mark.parametrize(
    "text", ["a: &a [*a]", "a: &a {b: *a}", "[" * 5000, "\n".join(["a0: &a0 [x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]),
        "\n".join(["a0: &a0 {x: 1}"] + [
            f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 20)])]
)  # fmt: skip
def test_a_record_made_to_harm(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=r"config\.yaml: cannot be read \((the alias|it stands for|it is nested)"):
        read_record(tmp_path)


# class lists


@pytest.mark.parametrize("class_id", ["3000000000", "4294967296", "1000000", "9" * 5000, "-1", "1e3", "²", ""])
def test_class_ids_that_no_model_has(tmp_path, class_id):
    (tmp_path / "a.csv").write_text(f"folder,class_id,name\na,{class_id},A\n")
    with pytest.raises(InputError, match=r"line 2: class_id is .*, expected a whole number from 0 to 999999") as error:
        read_class_list(tmp_path / "a.csv")
    assert len(str(error.value)) < 1000


def test_a_class_id_of_the_data_set_that_is_large(tmp_path):
    (tmp_path / "a.csv").write_text("folder,class_id,name\na,999999,A\n")
    assert data_set_classes({"classes": str(tmp_path / "a.csv")})[0].class_id == 999_999


def test_published_figures_that_are_no_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("dataset,classifier,top1\na,b,=cmd()\n")
    with pytest.raises(InputError, match=r"a\.csv: the published figures cannot be read"):
        read_published(tmp_path / "a.csv", ["top1"])
    with pytest.raises(InputError, match="it has no column gflops"):
        read_published(tmp_path / "a.csv", ["gflops"])


# terminals and spreadsheets


def test_messages_logs_and_cells_are_in_one_line_and_steer_nothing(tmp_path, capsys):
    import pandas as pd

    with job_log(tmp_path / "log", "rule") as log:
        log.info("100 %% of %s", STEERING)
        log.warning(f"% of {STEERING}")
    with pytest.raises(SystemExit), job_log(tmp_path / "log2", "rule"):
        raise InputError(STEERING)
    with pytest.raises(SystemExit), job_log(tmp_path / "log3", "rule"):
        raise RuntimeError(STEERING)
    write_csv(tmp_path / "a.csv", pd.DataFrame({"path": [STEERING, "plain"], "number": [-1.5, 2]}))
    shown = [capsys.readouterr().err, *((tmp_path / name).read_text() for name in ("log", "log2", "log3", "a.csv"))]
    for text in shown:
        lines = text.split("\n")
        assert all(line.isprintable() for line in lines) and any(
            "\\x1b[2J\\x9b\\u202e\\u2028" in line for line in lines
        )
    assert "-1.5" in shown[-1] and "Traceback" in shown[2] and "Traceback" in shown[3]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(1)", " =1", "\t=1", "\n=1", "=cmd|' /C calc'!A0"])
def test_no_cell_begins_as_a_formula(tmp_path, name):
    import pandas as pd

    write_csv(tmp_path / "a.csv", pd.DataFrame([LeftOut(name, "file", name)]))
    with open(tmp_path / "a.csv", newline="") as file:
        row = next(csv.DictReader(file))
    for cell in (row["path"], row["reason"]):
        assert cell.strip()[0] not in "=+-@\t\r\n" and cell.isprintable()


def test_left_out_files_and_refused_names_steer_nothing(tmp_path):
    root = tmp_path / "root"
    (root / "0").mkdir(parents=True)
    (root / "0" / "a.png").write_bytes(picture())
    (root / "0" / "\x1b[2J\u202e.txt").touch()
    given = spec("image_folder", root)
    _, left_out = manifest(given, data_set_classes(given))
    assert all(text.isprintable() for row in left_out for text in row)
    (root / "\x1b[2J\u202e\u2028").mkdir()
    (root / "\x1b[2J\u202e\u2028" / "a.png").write_bytes(picture())
    with pytest.raises(InputError, match=r"\\x1b\[2J\\u202e") as error:
        manifest(given, data_set_classes(given))
    assert str(error.value).isprintable()


def test_long_values_are_shown_in_brief():
    assert len(brief("x" * 10**6)) < 300 and brief("x") == "'x'"
    assert "digits" in brief(10**5000)
