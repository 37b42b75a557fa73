import pytest
import torch
from safetensors.torch import load_file, save_file

from varc.errors import InputError
from varc.files import file_sha256
from varc.models.checkpoints import load_var, load_vqvae
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.models.weights import card_path, read_card, save_model
from varc.seal import write_json

VQVAE_CONFIG = VQVAEConfig((1, 2), ch=8, ch_mult=(1, 2), num_res_blocks=1, z_channels=4, vocab_size=16, norm_groups=4)
VAR_CONFIG = VARConfig(1, 16, 2, 3, 16, 4, (1, 2))


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "var.safetensors"
    save_model(path, VAR(VAR_CONFIG), {"seed": 5})
    return path


def test_a_model_is_loaded_as_saved(tmp_path):
    for model, load in ((VQVAE(VQVAE_CONFIG), load_vqvae), (VAR(VAR_CONFIG), load_var)):
        path = tmp_path / "model.safetensors"
        save_model(path, model, {"seed": 5})
        loaded, card = load(path)
        assert loaded.config == model.config
        assert not loaded.training
        for name, tensor in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name
        assert card["seed"] == 5
        assert card["sha256"] == file_sha256(path)
        assert card["parameters"] == sum(p.numel() for p in model.parameters())


def alter(path, **changes):
    """Rewrites the weights with other tensors (None: taken away), and the card's sha256 with them."""
    state = {**load_file(path), **{key.replace("__", "."): value for key, value in changes.items()}}
    save_file({key: value for key, value in state.items() if value is not None}, path)
    card = read_card(path)
    write_json(card_path(path), {**card, "sha256": file_sha256(path)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head__bias": None}, "1 keys do not fit the architecture: missing head.bias"),
        ({"extra": torch.zeros(1)}, "unexpected extra"),
        ({"head__bias": torch.zeros(17)}, r"head.bias is \(17,\), expected \(16,\)"),
        ({"head__bias": torch.full((16,), torch.nan)}, "1 tensors hold NaN or infinity, first head.bias"),
        ({"head__bias": torch.full((16,), torch.inf)}, "1 tensors hold NaN or infinity, first head.bias"),
    ],
)
def test_wrong_weights_are_named(weights, changes, message):
    alter(weights, **changes)
    with pytest.raises(InputError, match=message) as error:
        load_var(weights)
    assert str(weights) in str(error.value)


def test_weights_must_be_those_of_the_card(weights):
    state = load_file(weights)
    save_file({**state, "head.bias": state["head.bias"] + 1}, weights)
    with pytest.raises(InputError, match="SHA-256"):
        load_var(weights)


def test_unreadable_files_are_named(weights):
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError, match=r"var\.safetensors: the weights cannot be read"):
        load_var(weights)
    card_path(weights).write_text("{")
    with pytest.raises(InputError, match=r"var\.json: damaged"):
        load_var(weights)
    write_json(card_path(weights), {"architecture": {"depth": 3}})
    with pytest.raises(InputError, match=r"var\.json: architecture does not describe a VARConfig"):
        load_var(weights)
