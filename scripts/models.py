"""The model that a job scores with: a VAR, and the VQ-VAE of the tokens that it scores."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from varc.freshness import check_made_with, check_models
from varc.models.var import VAR
from varc.models.var_weights import check_fit, read_var
from varc.models.vqvae import VQVAE
from varc.models.vqvae_weights import read_vqvae

FORMS = Path(".snakemake/varc_rates/forms")  # which were the fastest, beside the rates of the same devices


class Models(NamedTuple):
    """Both, the VAR's card, and their SHA-256 for the provenance."""

    vqvae: VQVAE
    var: VAR
    card: dict[str, Any]
    made_with: dict[str, str]


def read_models(snakemake: Any, tokens: Iterable[str] = ()) -> Models:
    """The models of a job's inputs, and what its params know of their checkpoints.

    Raises InputError where VAR, VQ-VAE and tokens (files of them, or of scores) do not belong together.
    """
    files, params, tokens = snakemake.input, snakemake.params, list(tokens)
    vqvae, vqvae_card = read_vqvae(files.vqvae, params.vqvae_checkpoint)
    var, card = read_var(files.var, params.var_checkpoint)
    check_models(files.var, card, files.vqvae, vqvae_card["sha256"])
    check_fit(files.var, var.config, files.vqvae, vqvae.config)
    check_made_with(tokens, "vqvae_sha256", vqvae_card["sha256"], files.vqvae)
    return Models(vqvae, var, card, {"var_sha256": card["sha256"], "vqvae_sha256": vqvae_card["sha256"]})
