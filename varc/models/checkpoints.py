"""Loaders of models that were trained here, for users of the library.

Jobs import them from where they are: an edit of the one model's code must not rerun what reads the other.
"""

from varc.models.var_weights import load_var
from varc.models.vqvae_weights import load_vqvae

__all__ = ["load_var", "load_vqvae"]
