"""A file in the place of weights is named as what it is, and wrappers of a state dict are opened."""

import gzip
import io
import json
import pickle
import random
import zipfile

import numpy as np
import parity
import pytest
import torch
from safetensors.torch import save, save_file

from varc.errors import InputError
from varc.models.kinds import check_kind
from varc.models.public import load_public_var
from varc.models.states import read_state
from varc.models.weights import read_weights

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 436075834\n"
INDEX = {
    "metadata": {},
    "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
}


def saved(content, **how):
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "x")
    return buffer.getvalue()


def scripted():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), buffer)
    return buffer.getvalue()


KINDS = {
    "a Git LFS pointer": (POINTER, "a Git LFS pointer, not the file itself; run git lfs pull"),
    "a web page": (b"<!doctype HTML>\n<html>", "a web page, not the file itself; download"),
    "a page with a mark": (b"\xef\xbb\xbf\n<html><head>", "a web page"),
    "an index": (json.dumps(INDEX).encode(), "an index of 2 shards, first model-00001-of-00002.safetensors; save"),
    "a JSON": (b'{"architectures": []}', "a JSON file; name the file of weights"),
    "a gzip archive": (gzip.compress(b"x"), "a gzip archive"),
    "a zip archive": (zipped(), "a zip archive; unpack it"),
    "TorchScript": (scripted(), "a TorchScript archive"),
    "nothing": (b"", "empty; download it again"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", KINDS)
def test_other_files_are_named(tmp_path, name, suffix):
    content, message = KINDS[name]
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    for read in (read_state, lambda path: read_weights(path, {})):
        with pytest.raises(InputError, match=rf"weights\{suffix}: the weights cannot be read, since it is {message}"):
            read(path)


def test_each_format_by_the_other_name(tmp_path):
    (tmp_path / "a.pth").write_bytes(save(TENSORS))
    with pytest.raises(InputError, match=r"a\.pth: .*a safetensors file by another name; rename it to \.safetensors"):
        read_state(tmp_path / "a.pth")
    (tmp_path / "a.safetensors").write_bytes(saved(TENSORS))
    with pytest.raises(InputError, match=r"a\.safetensors: .*a file of torch\.save by another name; rename"):
        read_state(tmp_path / "a.safetensors")
    for path, content in ((tmp_path / "b.pth", saved(TENSORS)), (tmp_path / "b.safetensors", save(TENSORS))):
        path.write_bytes(content)
        check_kind(path)
    check_kind(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("content", "asked"),
    [(torch.nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"), ({"a": np.ones(2)}, r"numpy\S+\._reconstruct")],
)
@pytest.mark.parametrize("new", [True, False])
def test_a_refused_pickle_says_what_it_asks_for_and_gives_no_advice_to_run_it(tmp_path, content, asked, new):
    (tmp_path / "a.pth").write_bytes(saved(content, _use_new_zipfile_serialization=new))
    with pytest.raises(InputError, match=rf"a\.pth: refused, .*\(it asks for {asked}\); use the published") as refusal:
        read_state(tmp_path / "a.pth")
    check_no_advice(refusal)


def check_no_advice(refusal):
    message = str(refusal.value).lower()
    assert "weights_only" not in message and "trust" not in message and "\n" not in message, message


NO_CHECKPOINTS = [b"hello world", pickle.dumps({"a": 1}, 5), b"\x80\x02}", b"\x80\x05\x95", b"PK\3\4"]


@pytest.mark.parametrize("content", NO_CHECKPOINTS)
def test_what_is_no_checkpoint_gives_no_advice(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pth: (the weights cannot be read|refused)") as refusal:
        read_state(tmp_path / "a.pth")
    check_no_advice(refusal)


def test_damaged_files_are_refused_by_one_line(tmp_path):
    whole = {".pth": saved(TENSORS), ".old.pth": saved(TENSORS, _use_new_zipfile_serialization=False)}
    whole[".safetensors"] = save(TENSORS)
    for i in range(150):
        rng = random.Random(i)
        suffix, content = rng.choice(sorted(whole.items()))
        changed = bytearray(content if rng.random() < 0.6 else content[: rng.randrange(len(content))])
        for _ in range(rng.choice((0, 1, 3, 20))):
            if changed:
                changed[rng.randrange(len(changed))] = rng.randrange(256)
        path = tmp_path / f"{i}{suffix}"
        path.write_bytes(changed)
        try:
            read_state(path)
        except InputError as error:
            assert str(error).isprintable() and "weights_only" not in str(error)


WRAPPED = {
    "compiled": {f"_orig_mod.{name}": tensor for name, tensor in TENSORS.items()},
    "parallel": {f"module.{name}": tensor for name, tensor in TENSORS.items()},
    "both": {f"module._orig_mod.{name}": tensor for name, tensor in TENSORS.items()},
    "the other way round": {f"_orig_mod.module.{name}": tensor for name, tensor in TENSORS.items()},
    "a compiled part": {"a._orig_mod.weight": TENSORS["a.weight"], "b": TENSORS["b"]},
    "model": {"model": TENSORS, "epoch": 3, "optimizer": {"lr": 0.1}},
    "state_dict": {"state_dict": TENSORS},
    "model of state_dict": {"model": {"state_dict": {f"module.{name}": tensor for name, tensor in TENSORS.items()}}},
    "trainer": {"trainer": {"var_wo_ddp": {f"_orig_mod.{name}": tensor for name, tensor in TENSORS.items()}}},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_are_opened_and_prefixes_stripped(tmp_path, name):
    path = tmp_path / "a.pth"
    path.write_bytes(saved(WRAPPED[name]))
    found = read_state(path)
    assert list(found) == list(TENSORS) and all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)
    if all(isinstance(tensor, torch.Tensor) for tensor in WRAPPED[name].values()):
        save_file(WRAPPED[name], tmp_path / "a.safetensors")
        assert set(read_state(tmp_path / "a.safetensors")) == set(TENSORS)


def test_names_that_are_no_prefix_stay(tmp_path):
    state = {"module.a": torch.ones(1), "b.module.c": torch.ones(1)}
    (tmp_path / "a.pth").write_bytes(saved(state))
    assert set(read_state(tmp_path / "a.pth")) == set(state)
    (tmp_path / "a.pth").write_bytes(saved({"a": torch.ones(1), "_orig_mod.a": torch.ones(1)}))
    with pytest.raises(InputError, match="two of its names are the same without _orig_mod"):
        read_state(tmp_path / "a.pth")


def test_a_compiled_var_is_the_var(tmp_path):
    var = parity.models()[1]
    (tmp_path / "var.pth").write_bytes(saved({"model": {f"_orig_mod.{k}": v for k, v in var.state_dict().items()}}))
    found = load_public_var(tmp_path / "var.pth")[0].state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in var.state_dict().items())
