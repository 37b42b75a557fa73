"""The weights of a VAR: trained here, or from a public checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from varc.errors import InputError
from varc.models.architectures import PATCH_NUMS_256, PATCH_NUMS_512
from varc.models.states import State, check_architecture, dimension, numbered, public_card, read_hashed_state
from varc.models.var import VAR, VARConfig
from varc.models.weights import Card, assign_weights, load_model


def read_var(path: str, checkpoint: dict[str, Any] | None) -> tuple[VAR, Card]:
    """A VAR and its card. checkpoint: what is known of a public one beforehand, None for one trained here."""
    return load_var(path) if checkpoint is None else load_public_var(path, **checkpoint)


def load_var(path: str | Path) -> tuple[VAR, Card]:
    """A VAR that was trained here, in eval mode, and its card. Raises InputError as load_model does."""
    return load_model(path, VAR, VARConfig)


def load_public_var(
    path: str | Path,
    *,
    patch_nums: Sequence[int] | None = None,
    architecture: dict[str, Any] | None = None,
    sha256: str | None = None,
) -> tuple[VAR, Card]:
    """The VAR in a public checkpoint, in eval mode, and its card; see load_public_vqvae in varc.models.vqvae_weights.

    patch_nums follow from the number of positions where it is that of a public schedule (680 or 2240).
    """
    state, found = read_hashed_state(path, sha256)
    config = var_shape(path, state, patch_nums)
    check_architecture(path, config, architecture or {})
    with torch.device("meta"):
        model = VAR(config)
    return assign_weights(model, path, state), public_card(model, path, found)


def check_fit(var_path: str | Path, var: VARConfig, vqvae_path: str | Path, vqvae: Any) -> None:
    """Raises InputError for a VAR whose tokens a VQ-VAE (vqvae: its config) does not make."""
    for key in ("patch_nums", "vocab_size", "z_channels"):
        own, other = getattr(var, key), getattr(vqvae, key)
        if own != other:
            raise InputError(f"{var_path}: {key} is {own}, but that of {vqvae_path} is {other}; they are no pair")


def var_shape(path: str | Path, state: State, patch_nums: Sequence[int] | None = None) -> VARConfig:
    """The shape of a VAR from its tensors; see load_public_var. Raises InputError for other tensors."""
    positions = dimension(path, state, "pos_1LC", 1)
    schedules = [patch_nums] if patch_nums else [PATCH_NUMS_256, PATCH_NUMS_512]
    fitting = [tuple(s) for s in schedules if sum(p * p for p in s) == positions]
    if not fitting:
        known = " or ".join(str(list(s)) for s in schedules)
        raise InputError(f"{path}: has {positions} positions, which is not {known}; give its patch_nums")
    return VARConfig(
        depth=numbered(state, "blocks"),
        width=dimension(path, state, "class_emb.weight", 1),
        heads=dimension(path, state, "blocks.0.attn.scale_mul_1H11", 1),
        num_classes=dimension(path, state, "class_emb.weight", 0) - 1,
        vocab_size=dimension(path, state, "head.weight", 0),
        z_channels=dimension(path, state, "word_embed.weight", 1),
        patch_nums=fitting[0],
        shared_adaln="shared_ada_lin.1.weight" in state,
    )
