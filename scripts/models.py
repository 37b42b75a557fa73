"""The model that a job scores with: a VAR, and the VQ-VAE of the tokens that it scores."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from varc.freshness import check_made_with
from varc.models.pair import read_pair
from varc.models.var import VAR
from varc.models.vqvae import VQVAE
from varc.scoring.forms import computing_on

FORMS = Path(".snakemake/varc_rates/forms")  # which were the fastest, beside the rates of the same devices


class Models(NamedTuple):
    """Both, the VAR's card, and their SHA-256 for the provenance."""

    vqvae: VQVAE
    var: VAR
    card: dict[str, Any]
    made_with: dict[str, Any]


def read_models(snakemake: Any, tokens: Iterable[str] = ()) -> Models:
    """The models of a job's inputs, and what its params know of their checkpoints.

    Raises InputError where VAR, VQ-VAE and tokens (files of them, or of scores) do not belong together.
    """
    files, params = snakemake.input, snakemake.params
    pair = read_pair(files.vqvae, files.var, params.vqvae_checkpoint, params.var_checkpoint)
    check_made_with(list(tokens), "vqvae_sha256", pair.vqvae_card["sha256"], files.vqvae)
    return Models(pair.vqvae, pair.var, pair.var_card, pair.made_with)


def on_device(models: Models, device: Any, precision: str, scales: int | None = None) -> Models:
    """The models, the VAR on a device, where it computes in a precision and by the forms that are fastest for its first
    scales, None for all; the provenance says both. Raises InputError where the device lacks the precision."""
    var = computing_on(device, models.var, precision, scales or len(models.var.config.patch_nums), FORMS)
    made_with = {**models.made_with, "dtype": precision, "forms": var.arithmetic.forms}
    return models._replace(var=var, made_with=made_with)
