"""What follows of a model from those that it comes from: its shape, its VQ-VAE, the settings of its fine-tuning."""

from typing import Any

from varc.models.architectures import ARCHITECTURES, PATCH_NUMS_256
from workflow.config.models import FinetunedModel, Models, PublicModel, TrainedModel, Training

Architecture = dict[str, dict[str, Any]]
SHAPE_KEYS = {  # of a model that is trained here
    "vqvae": ("patch_nums", "ch", "ch_mult", "num_res_blocks", "z_channels", "vocab_size", "norm_groups"),
    "var": ("depth", "width", "heads"),
}


def bases(models: Models, name: str) -> list[str]:
    """A model, and those that it was fine-tuned from, one from the next."""
    chain = [name]
    while isinstance(model := models[chain[-1]], FinetunedModel):
        chain.append(model.finetune)
    return chain


def origin(models: Models, name: str) -> str:
    """The model, trained here or public, that a fine-tuned one starts from in the end; itself for the others."""
    return bases(models, name)[-1]


def vqvae_owner(models: Models, name: str) -> str:
    """The model whose VQ-VAE a model has, trained here or public: its origin, or the one that `train: vqvae` names."""
    start = models[name := origin(models, name)]
    shared = isinstance(start, TrainedModel) and isinstance(start.train.vqvae, str)
    return start.train.vqvae if shared else name  # type: ignore[union-attr, return-value]


def ancestry(models: Models, name: str) -> list[str]:
    """The models that a model is made from, itself first: what it was fine-tuned from, and whose VQ-VAE it has."""
    return list(dict.fromkeys([*bases(models, name), vqvae_owner(models, name)]))


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

    None where a part is a checkpoint whose `architecture` is not given: its tensors tell, once they are there.
    """
    found = {part: shape_of(models, name, part) for part in SHAPE_KEYS}
    return {part: shape for part, shape in found.items() if shape} if all(found.values()) else None


def shape_of(models: Models, name: str, part: str) -> dict[str, Any] | None:
    """The shape of a part of a model; see architecture."""
    model = models[vqvae_owner(models, name) if part == "vqvae" else origin(models, name)]
    if isinstance(model, PublicModel):
        return ARCHITECTURES[model.architecture][part] if model.architecture else None
    assert isinstance(model, TrainedModel)
    return {key: getattr(getattr(model.train, part), key) for key in SHAPE_KEYS[part]}


def patch_nums(models: Models, name: str) -> list[int]:
    """The patch numbers of a model; those of the public models at 256 px, where nothing says otherwise."""
    if shape := architecture(models, name):
        return shape["vqvae"]["patch_nums"]
    return getattr(models[vqvae_owner(models, name)], "patch_nums", None) or list(PATCH_NUMS_256)


def image_size(models: Models, name: str) -> int | None:
    """Pixels per side of a model's images, or None where only its tensors tell."""
    shape = architecture(models, name)
    return shape and shape["vqvae"]["patch_nums"][-1] * 2 ** (len(shape["vqvae"]["ch_mult"]) - 1)  # type: ignore[return-value]
