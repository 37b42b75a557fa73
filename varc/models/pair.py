"""The two models of a classifier: a VAR, and the VQ-VAE of the tokens that it scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from varc.freshness import check_models
from varc.models.var import VAR
from varc.models.var_weights import check_fit, load_public_var, load_var, read_var
from varc.models.vqvae import VQVAE
from varc.models.vqvae_weights import load_public_vqvae, load_vqvae, read_vqvae
from varc.models.weights import Card, card_path

NORM_GROUPS = 32  # of the public VQ-VAE


class Pair(NamedTuple):
    """Both, with their cards, and their SHA-256 as files say what they were made with."""

    vqvae: VQVAE
    var: VAR
    vqvae_card: Card
    var_card: Card

    @property
    def made_with(self) -> dict[str, str]:
        return {"var_sha256": self.var_card["sha256"], "vqvae_sha256": self.vqvae_card["sha256"]}


def read_pair(
    vqvae: str, var: str, vqvae_checkpoint: dict[str, Any] | None, var_checkpoint: dict[str, Any] | None
) -> Pair:
    """The models in two files, and what is known of each beforehand, None where it was trained here.

    Raises InputError for weights that are absent, damaged or others, and where VAR and VQ-VAE do not belong together.
    """
    encoder, vqvae_card = read_vqvae(vqvae, vqvae_checkpoint)
    model, var_card = read_var(var, var_checkpoint)
    return checked(Pair(encoder, model, vqvae_card, var_card), vqvae, var)


def load_pair(
    vqvae: str | Path, var: str | Path, *, patch_nums: Sequence[int] | None = None, norm_groups: int | None = None
) -> Pair:
    """The models in two files: trained here where a card lies beside, else public checkpoints. patch_nums, norm_groups:
    what no tensor of these shows, by default that of the public models. Raises InputError as read_pair does."""
    if card_path(var).exists():
        model, var_card = load_var(var)
    else:
        model, var_card = load_public_var(var, patch_nums=patch_nums)
    if card_path(vqvae).exists():
        encoder, vqvae_card = load_vqvae(vqvae)
    else:
        groups = NORM_GROUPS if norm_groups is None else norm_groups
        encoder, vqvae_card = load_public_vqvae(vqvae, patch_nums=model.config.patch_nums, norm_groups=groups)
    return checked(Pair(encoder, model, vqvae_card, var_card), vqvae, var)


def checked(pair: Pair, vqvae: str | Path, var: str | Path) -> Pair:
    """The pair itself. Raises InputError where its VAR and VQ-VAE do not belong together."""
    check_models(var, pair.var_card, vqvae, pair.vqvae_card["sha256"])
    check_fit(var, pair.var.config, vqvae, pair.vqvae.config)
    return pair
