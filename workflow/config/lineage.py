"""What follows of a model from those that it comes from: its shape, its VQ-VAE, the settings of its fine-tuning."""

from typing import Any

from varc.models.architectures import ARCHITECTURES, PATCH_NUMS_256
from workflow.config.models import FinetunedModel, Models, PublicModel, TrainedModel, Training

Architecture = dict[str, dict[str, Any]]
SHAPE_KEYS = {  # of a model that is trained here
    "vqvae": ("patch_nums", "ch", "ch_mult", "num_res_blocks", "z_channels", "vocab_size", "norm_groups"),
    "var": ("depth", "width", "heads"),
}


def origin(models: Models, name: str) -> str:
    """The model, trained here or public, that a fine-tuned one starts from in the end; itself for the others."""
    while isinstance(model := models[name], FinetunedModel):
        name = model.finetune
    return name


def vqvae_owner(models: Models, name: str) -> str:
    """The model whose VQ-VAE a model has: that of its origin, or of the one that `train: vqvae` names."""
    start = models[name := origin(models, name)]
    shared = isinstance(start, TrainedModel) and isinstance(start.train.vqvae, str)
    return start.train.vqvae if shared else name  # type: ignore[union-attr, return-value]


def ancestry(models: Models, name: str) -> list[str]:
    """The models that a model is made from, itself first: what it was fine-tuned from, and who trained its VQ-VAE."""
    chain = [name]
    while isinstance(model := models[chain[-1]], FinetunedModel):
        chain.append(model.finetune)
    return list(dict.fromkeys([*chain, vqvae_owner(models, name)]))


def var_training(models: Models, name: str) -> dict[str, Any]:
    """The settings by which a VAR learns, with the data set; those of a fine-tuned model as finetuning has them.

    Empty for a public model."""
    model = models[name]
    if isinstance(model, TrainedModel):
        return {**model.train.var.given(), "data": model.train.data}
    return finetuning(models, name) if isinstance(model, FinetunedModel) else {}


def validated(train: Training) -> dict[str, str]:
    """The data sets that the parts of a model trained here are validated on, by their keys below `train`."""
    parts = {"vqvae": train.vqvae, "var": train.var}
    found = {part: entry.validate_ for part, entry in parts.items() if not isinstance(entry, str)}
    return {f"{part}: validate": dataset for part, dataset in found.items() if dataset is not None}


def finetuning(models: Models, name: str) -> dict[str, Any]:
    """The settings of a fine-tuned model; data, samples and sigma are those of its origin's training by default."""
    model, start = models[name], models[origin(models, name)]
    assert isinstance(model, FinetunedModel)
    settings = model.settings.given()
    if isinstance(start, TrainedModel) and "data" not in settings:
        trained = start.train.var.given()
        inherited = {key: trained[key] for key in ("samples", "sigma") if key in trained}
        settings = inherited | settings | {"data": start.train.data}
    return {"samples": 1} | settings


def architecture(models: Models, name: str) -> Architecture | None:
    """The shape of a model, as far as the config tells it: its `train` entry's, or that of its architecture's name.

    None for a checkpoint whose `architecture` is not given: its tensors tell, once they are there.
    """
    model = models[origin(models, name)]
    if not isinstance(model, TrainedModel):
        assert isinstance(model, PublicModel)
        return ARCHITECTURES.get(model.architecture or "")
    owner = models[vqvae_owner(models, name)]
    assert isinstance(owner, TrainedModel)
    parts = {"vqvae": owner.train.vqvae, "var": model.train.var}
    return {part: {key: getattr(parts[part], key) for key in keys} for part, keys in SHAPE_KEYS.items()}


def patch_nums(models: Models, name: str) -> list[int]:
    """The patch numbers of a model; those of the public models at 256 px, where nothing says otherwise."""
    if shape := architecture(models, name):
        return shape["vqvae"]["patch_nums"]
    return getattr(models[origin(models, name)], "patch_nums", None) or list(PATCH_NUMS_256)


def image_size(models: Models, name: str) -> int | None:
    """Pixels per side of a model's images, or None where only its tensors tell."""
    shape = architecture(models, name)
    return shape and shape["vqvae"]["patch_nums"][-1] * 2 ** (len(shape["vqvae"]["ch_mult"]) - 1)  # type: ignore[return-value]
