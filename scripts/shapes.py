"""The shapes of a model, from its config entry."""

import dataclasses
from typing import Any

from varc.costs.closed_form import Shape
from varc.models.states import read_state
from varc.models.var import VARConfig
from varc.models.var_weights import var_shape
from varc.models.vqvae import VQVAEConfig
from varc.models.vqvae_weights import vqvae_shape


def var_config(settings: dict[str, Any], vqvae: VQVAEConfig, num_classes: int) -> VARConfig:
    """The shape in a model's `train: var:` entry, on the tokens of a VQ-VAE."""
    return VARConfig(
        depth=settings["depth"],
        width=settings["width"],
        heads=settings["heads"],
        num_classes=num_classes,
        vocab_size=vqvae.vocab_size,
        z_channels=vqvae.z_channels,
        patch_nums=vqvae.patch_nums,
        shared_adaln=settings.get("shared_adaln", False),
    )


def model_configs(shape: dict[str, Any]) -> tuple[VQVAEConfig, VARConfig]:
    """Both shapes of a model, as the config gives them, or else from the tensors of its two files.

    From the config, the number of classes, which costs nothing, is left at 1.
    """
    if "files" not in shape:
        vqvae = VQVAEConfig.of(shape["vqvae"])
        return vqvae, var_config(shape["var"], vqvae, 1)
    vqvae_file, var_file = shape["files"]
    var = var_shape(var_file, read_state(var_file), shape.get("patch_nums"))
    groups = shape.get("norm_groups", 32)
    return vqvae_shape(vqvae_file, read_state(vqvae_file), var.patch_nums, groups), var


def model_shape(shape: dict[str, Any]) -> Shape:
    """The shape of a model as plans take it; see model_configs."""
    vqvae, var = model_configs(shape)
    return Shape.of({"vqvae": dataclasses.asdict(vqvae), "var": dataclasses.asdict(var)})
