"""The models that jobs read: trained here, or from public checkpoints."""

from typing import Any

from varc.models.checkpoints import Card, load_var, load_vqvae
from varc.models.public import load_public_var, load_public_vqvae
from varc.models.var import VAR
from varc.models.vqvae import VQVAE


def read_vqvae(path: str, checkpoint: dict[str, Any] | None) -> tuple[VQVAE, Card]:
    """A VQ-VAE and its card. checkpoint: what is known of a public one beforehand, None for one trained here."""
    return load_vqvae(path) if checkpoint is None else load_public_vqvae(path, **checkpoint)


def read_var(path: str, checkpoint: dict[str, Any] | None) -> tuple[VAR, Card]:
    """A VAR and its card; see read_vqvae."""
    return load_var(path) if checkpoint is None else load_public_var(path, **checkpoint)
