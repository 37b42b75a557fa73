"""The weights of rival classifiers: trained here, or public."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from varc.baselines.family import Family, settings
from varc.errors import InputError
from varc.files import check_sha256, file_sha256, joined_sha256, unchanged
from varc.models.kinds import check_kind
from varc.models.weights import Card, assign_weights, card_path, check_finite, read_card, read_weights, save_weights


def save_baseline(path: str | Path, model: nn.Module, card: Card) -> None:
    """Writes weights and card, each whole or not at all. parameters: all numbers kept, a memory of images included."""
    save_weights(path, model, {**card, "parameters": sum(t.numel() for t in model.state_dict().values())})


def read_baseline(
    kind: Family, entry: dict[str, Any], weights: str | Path | Sequence[str] | None, public_sha256: dict[str, str]
) -> tuple[nn.Module, Card]:
    """A rival in eval mode, and its card: sha256, and architecture with num_classes.

    entry: its config entry. weights: the file that was trained here; public weights are read from the entry's
    checkpoint. Raises InputError for weights that are absent, damaged, or of another shape.
    """
    shape = settings(kind.Shape, entry["shape"])
    if "train" not in entry:
        return public_baseline(kind, entry, shape, public_sha256)
    card = read_card(str(weights))
    if card["architecture"]["shape"] != entry["shape"]:
        raise InputError(f"{card_path(str(weights))}: the shape is not the config's; delete it and run again")
    model = kind.build(shape, card["architecture"]["num_classes"])
    return assign_weights(model, str(weights), read_weights(str(weights), card)), card


def read_pretrained(kind: Any, folder: str | Path, weights: str | Path, unreadable: str, **options: Any) -> nn.Module:
    """A model of a transformers or diffusers class from a folder with safetensors; nothing is downloaded, and no code
    is run. weights, unreadable: how messages name the file, and say that it can't be read.

    Raises InputError for weights that are unreadable, misshapen, missing or not finite.
    """
    options |= {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    try:
        model, found = kind.from_pretrained(folder, **options)
    except Exception as error:  # what the libraries raise for damaged files differs from version to version
        raise InputError(f"{unreadable} ({error})") from None
    if missing := sorted(found["missing_keys"]):
        raise InputError(f"{weights}: {len(missing)} weights are missing, first {missing[0]}; use another file")
    check_finite(weights, model.state_dict())
    return model


def public_baseline(
    kind: Family, entry: dict[str, Any], shape: Any, public_sha256: dict[str, str]
) -> tuple[nn.Module, Card]:
    """Public weights; see read_baseline."""
    name = entry["family"]
    given = entry["checkpoint"]
    parts = list(given.values()) if isinstance(given, dict) else [given]
    absent = [part for part in parts if isinstance(given, dict) and part not in public_sha256]
    if absent or not public_sha256:
        raise InputError(f"{(absent or parts)[0]}: no weights there; put the public files of family {name} there")
    if not hasattr(kind, "load_public"):
        raise InputError(f"checkpoint: family {name} has no public weights; give train instead")
    for file in sorted(public_sha256):
        if file.endswith(".safetensors"):
            check_kind(file)
    with unchanged(public_sha256):
        model = kind.load_public(given, shape, entry["classes"])
        for file, expected in public_sha256.items():
            check_sha256(file, file_sha256(file), expected)
    architecture = {"family": name, "shape": dataclasses.asdict(shape), "num_classes": entry["classes"]}
    return model.eval().requires_grad_(False), {"sha256": joined_sha256(public_sha256), "architecture": architecture}
