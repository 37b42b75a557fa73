"""The weights of a VQ-VAE: trained here, or from a public checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from varc.bounded import read_json
from varc.errors import InputError
from varc.models.architectures import PATCH_NUMS_256
from varc.models.states import State, check_architecture, dimension, numbered, public_card, read_hashed_state
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.models.weights import Card, assign_weights, card_path, load_model


def read_vqvae(path: str, checkpoint: dict[str, Any] | None) -> tuple[VQVAE, Card]:
    """A VQ-VAE and its card. checkpoint: what is known of a public one beforehand, None for one trained here."""
    return load_vqvae(path) if checkpoint is None else load_public_vqvae(path, **checkpoint)


def load_vqvae(path: str | Path) -> tuple[VQVAE, Card]:
    """A VQ-VAE that was trained here, in eval mode, and its card. Raises InputError as load_model does."""
    return load_model(path, VQVAE, VQVAEConfig)


def load_public_vqvae(
    path: str | Path,
    *,
    patch_nums: Sequence[int] | None = None,
    norm_groups: int = 32,
    architecture: dict[str, Any] | None = None,
    sha256: str | None = None,
) -> tuple[VQVAE, Card]:
    """The VQ-VAE in a public checkpoint, in eval mode, and its card.

    patch_nums and norm_groups show in no tensor: by default those of the public models at 256 px. architecture: the
    shape that is expected. sha256: that is expected of the file. Raises InputError as read_hashed_state and
    assign_weights do, for tensors that describe no VQ-VAE, and for another shape than expected or than its card says.
    """
    state, found = read_hashed_state(path, sha256)
    config = vqvae_shape(path, state, patch_nums, norm_groups)
    check_architecture(path, config, architecture or {})
    check_card(path, config, found)
    with torch.device("meta"):
        model = VQVAE(config)
    return assign_weights(model, path, state), public_card(model, path, found)


def check_card(path: str | Path, config: VQVAEConfig, sha256: str) -> None:
    """Raises InputError where the file was trained by varc, with its card beside it, and the config says otherwise what
    no tensor shows. sha256: of the file, which the card must have too; other files beside it say nothing."""
    try:
        card = read_json(card_path(path))
    except (OSError, ValueError):
        return
    if not isinstance(card, dict) or card.get("sha256") != sha256:
        return
    told = card.get("architecture")
    for key, own in {"patch_nums": list(config.patch_nums), "norm_groups": config.norm_groups}.items():
        if isinstance(told, dict) and told.get(key, own) != own:
            found = f"{path}: {key} is {own}, but {card_path(path).name} beside it says {told[key]}"
            raise InputError(f"{found}; give its {key}")


def vqvae_shape(
    path: str | Path, state: State, patch_nums: Sequence[int] | None = None, norm_groups: int = 32
) -> VQVAEConfig:
    """The shape of a VQ-VAE from its tensors; see load_public_vqvae. Raises InputError for other tensors."""
    ch = dimension(path, state, "encoder.conv_in.weight", 0)
    scales = dimension(path, state, "quantize.ema_vocab_hit_SV", 0)
    patch_nums = tuple(patch_nums or PATCH_NUMS_256)
    if len(patch_nums) != scales:
        raise InputError(f"{path}: has {scales} scales, but patch_nums are {list(patch_nums)}; give its patch_nums")
    if ch % norm_groups:
        raise InputError(f"{path}: {ch} channels do not divide into {norm_groups} groups; give its norm_groups")
    levels = range(numbered(state, "encoder.down"))
    widths = [dimension(path, state, f"encoder.down.{i}.block.0.conv1.weight", 0) for i in levels]
    return VQVAEConfig(
        patch_nums=patch_nums,
        ch=ch,
        ch_mult=tuple(width // ch for width in widths),
        num_res_blocks=numbered(state, "encoder.down.0.block"),
        z_channels=dimension(path, state, "quant_conv.weight", 0),
        vocab_size=dimension(path, state, "quantize.embedding.weight", 0),
        norm_groups=norm_groups,
    )
