"""Loaders of public checkpoints, for users of the library; see varc.models.checkpoints."""

from varc.models.var_weights import load_public_var
from varc.models.vqvae_weights import load_public_vqvae

__all__ = ["load_public_var", "load_public_vqvae"]
