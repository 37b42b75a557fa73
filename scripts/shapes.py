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
    """Both shapes of a model, as the config gives them, or else, part by part, from the tensors of its files.

    From the config, the number of classes, which costs nothing, is left at 1.
    """
    if "files" not in shape:
        vqvae = VQVAEConfig.of(shape["vqvae"])
        return vqvae, var_config(shape["var"], vqvae, 1)
    file, patch_nums, groups = shape["files"]["vqvae"], shape.get("patch_nums"), shape.get("norm_groups", 32)
    if "var" in shape:
        vqvae = vqvae_shape(file, read_state(file), patch_nums, groups)
        return vqvae, var_config(shape["var"], vqvae, 1)
    var = var_shape(shape["files"]["var"], read_state(shape["files"]["var"]), patch_nums)
    return vqvae_shape(file, read_state(file), var.patch_nums, groups), var


def model_shape(shape: dict[str, Any]) -> Shape:
    """The shape of a model as plans take it; see model_configs."""
    vqvae, var = model_configs(shape)
    return Shape.of({"vqvae": dataclasses.asdict(vqvae), "var": dataclasses.asdict(var)})
