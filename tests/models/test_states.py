"""Public checkpoints: every format and nesting, shapes told from tensors, and what is refused."""

import json
import os
from pathlib import Path

import parity
import pytest
import torch
from safetensors.torch import save_file

from varc.errors import InputError
from varc.files import file_sha256
from varc.models.architectures import ARCHITECTURES
from varc.models.public import load_public_var, load_public_vqvae
from varc.models.states import read_state
from varc.models.var import VAR
from varc.models.var_weights import var_shape
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.models.vqvae_weights import vqvae_shape
from varc.models.weights import misfits, save_model

KEYS = json.loads((parity.DATA / "checkpoint_keys.json").read_text())


@pytest.fixture(scope="module")
def states():
    vqvae, var = parity.models()
    return vqvae.state_dict(), var.state_dict()


def write_bare(state, path):
    torch.save(state, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def write_old(state, path):
    torch.save(state, path.with_suffix(".pth"), _use_new_zipfile_serialization=False)
    return path.with_suffix(".pth")


def write_trainer(state, path):
    torch.save({"epoch": 3, "trainer": {"var_wo_ddp": state, "other": 1}}, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def write_nested(state, path):
    torch.save({"var_wo_ddp": state, "epoch": 3}, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def write_safetensors(state, path):
    save_file(state, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


@pytest.mark.parametrize("write", [write_bare, write_old, write_trainer, write_nested, write_safetensors])
def test_a_model_is_read_from_every_format(states, tmp_path, write):
    expected = parity.models()
    vqvae_path, var_path = write(states[0], tmp_path / "vae"), write(states[1], tmp_path / "var")
    for loaded, model, path in zip(
        (load_public_vqvae(vqvae_path), load_public_var(var_path)), expected, (vqvae_path, var_path), strict=True
    ):
        found, card = loaded
        assert found.config == model.config
        assert not found.training
        assert card["sha256"] == file_sha256(path)
        assert all(torch.equal(found.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_public_key_list_fits_and_tells_its_shape(name):
    """On the meta device: neither memory nor time for two billion parameters."""
    dtypes = {"float32": torch.float32, "int64": torch.int64}
    with torch.device("meta"):
        vae, var = (
            {key: torch.empty(shape, dtype=dtypes[dtype]) for key, (shape, dtype) in KEYS[file].items()}
            for file in ("vae_ch160v4096z32", name)
        )
        expected = ARCHITECTURES[name]
        patch_nums = expected["vqvae"]["patch_nums"]
        vqvae_config, var_config = vqvae_shape("vae.pth", vae, patch_nums), var_shape("var.pth", var)
        for config, part in ((vqvae_config, "vqvae"), (var_config, "var")):
            for key, value in expected[part].items():
                found = getattr(config, key)
                assert (list(found) if isinstance(found, tuple) else found) == value
        assert (var_config.num_classes, var_config.vocab_size, var_config.z_channels) == (1000, 4096, 32)
        assert list(var_config.patch_nums) == patch_nums
        assert misfits(VQVAE(vqvae_config).state_dict(), vae) == []
        assert misfits(VAR(var_config).state_dict(), var) == []


class Malicious:
    """A pickle that creates a file when it is loaded the careless way."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, zipped):
    marker, path = tmp_path / "was_run", tmp_path / "var_d16.pth"
    torch.save({"var_wo_ddp": {"pos_1LC": Malicious(str(marker))}}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"var_d16\.pth: refused, since it is no plain file of tensors"):
        load_public_var(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the file is a real one
    assert marker.exists()


def changed(state, **changes):
    """The state dict with other tensors; None takes one away."""
    full = {**state, **{key.replace("__", "."): value for key, value in changes.items()}}
    return {key: value for key, value in full.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head__bias": None}, "1 keys do not fit the architecture: missing head.bias"),
        ({"more": torch.zeros(1)}, "1 keys do not fit the architecture: unexpected more"),
        ({"head__bias": torch.zeros(3)}, r"head.bias is \(3,\), expected \(512,\)"),
        ({"head__bias": torch.zeros(3, dtype=torch.float16)}, r"head.bias is torch.float16, expected torch.float32"),
        ({"class_emb__weight": None}, "missing class_emb.weight; expected the keys of a public VAR checkpoint"),
        ({"pos_1LC": torch.zeros(1, 681, 128)}, "681 positions, which is not .*; give its patch_nums"),
    ],
)
def test_wrong_keys_are_named(states, tmp_path, changes, message):
    path = write_bare(changed(states[1], **changes), tmp_path / "var")
    with pytest.raises(InputError, match=message) as error:
        load_public_var(path)
    assert str(path) in str(error.value)


def test_many_wrong_keys_are_counted_and_a_few_named(states, tmp_path):
    state = {key: value for key, value in states[1].items() if ".ffn." not in key}
    with pytest.raises(InputError) as error:
        load_public_var(write_bare(state, tmp_path / "var"))
    assert "8 keys do not fit" in str(error.value)
    assert str(error.value).count("missing") == 5


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half a zip"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_are_no_checkpoints_are_named(tmp_path, content, suffix):
    path = tmp_path / f"var{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"var\{suffix}: (the weights cannot be read|refused)"):
        read_state(path)


def test_truncated_and_absent_files_are_named(states, tmp_path):
    path = write_bare(states[1], tmp_path / "var")
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"var\.pth: the weights cannot be read"):
        read_state(path)
    with pytest.raises(InputError, match=r"absent\.pth: the weights cannot be read"):
        read_state(tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [{"epoch": 1}, [torch.zeros(1)], {}, {"var_wo_ddp": {"a": 3}}])
def test_files_without_a_state_dict_are_named(tmp_path, content):
    path = tmp_path / "var.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match=r"var\.pth: holds no state dict"):
        read_state(path)


def test_another_architecture_than_named_is_refused(states, tmp_path):
    path = write_bare(states[1], tmp_path / "var")
    with pytest.raises(InputError, match=r"var\.pth: depth is 2, but its architecture says 16"):
        load_public_var(path, architecture=ARCHITECTURES["var_d16"]["var"])
    path = write_bare(states[0], tmp_path / "vae")
    with pytest.raises(InputError, match=r"vae\.pth: has 10 scales, but patch_nums are \[1, 2\]"):
        load_public_vqvae(path, patch_nums=(1, 2))
    with pytest.raises(InputError, match=r"channels do not divide into 7 groups"):
        load_public_vqvae(path, norm_groups=7)


def test_a_card_beside_a_vqvae_tells_what_no_tensor_shows(tmp_path):
    """Other groups divide the channels too: the features would be others, without an error."""
    model, path = VQVAE(VQVAEConfig((1, 2), 32, (1, 2), 1, 8, 16, norm_groups=8)), tmp_path / "vae.safetensors"
    save_model(path, model, {})
    assert load_public_vqvae(path, patch_nums=(1, 2), norm_groups=8)[0].config == model.config
    with pytest.raises(
        InputError, match=r"vae\.safetensors: norm_groups is 32, but vae\.json beside it says 8; give its"
    ):
        load_public_vqvae(path, patch_nums=(1, 2))
    with pytest.raises(InputError, match=r"patch_nums is \[1, 3\], but vae\.json beside it says \[1, 2\]"):
        load_public_vqvae(path, patch_nums=(1, 3), norm_groups=8)
    for other in ("{", "[]", '{"sha256": "of another file", "architecture": {"norm_groups": 8}}', "named"):
        other = json.dumps({"sha256": file_sha256(path), "architecture": "small"}) if other == "named" else other
        path.with_suffix(".json").write_text(other)
        assert load_public_vqvae(path, patch_nums=(1, 2))[0].config.norm_groups == 32


def test_weights_that_are_not_finite_are_refused(states, tmp_path):
    state = changed(states[1], head__bias=torch.full_like(states[1]["head.bias"], torch.nan))
    with pytest.raises(InputError, match=r"1 tensors hold NaN or infinity, first head\.bias"):
        load_public_var(write_bare(state, tmp_path / "var"))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
@pytest.mark.parametrize("write", [write_bare, write_nested, write_safetensors])
def test_a_checkpoint_is_mapped_and_never_written_to(states, tmp_path, write):
    path = write(states[1], tmp_path / "var")
    before = path.read_bytes()
    model, _ = load_public_var(path)
    assert str(path) in Path("/proc/self/maps").read_text()
    with torch.no_grad():
        model.head.weight.zero_()
    assert path.read_bytes() == before


@pytest.mark.parametrize("which", [0, 1])
def test_the_sha256_that_is_given_is_that_of_what_is_loaded(states, tmp_path, which):
    load = (load_public_vqvae, load_public_var)[which]
    path = write_bare(states[which], tmp_path / "model")
    assert load(path, sha256=file_sha256(path))[1]["sha256"] == file_sha256(path)
    with pytest.raises(InputError, match=rf"model\.pth has SHA-256 {file_sha256(path)}, but {'f' * 64} is expected"):
        load(path, sha256="f" * 64)


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_refused(states, tmp_path, monkeypatch):
    path = write_bare(states[1], tmp_path / "var")
    other = write_bare({**states[1], "head.bias": states[1]["head.bias"] + 1}, tmp_path / "other")

    def replaced(which):
        state = read_state(which)
        os.replace(other, path)
        return state

    monkeypatch.setattr("varc.models.states.read_state", replaced)
    with pytest.raises(InputError, match=r"var\.pth: was changed while it was read"):
        load_public_var(path)
