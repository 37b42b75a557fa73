"""Weights on disk, of any model: safetensors with a JSON card beside them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import varc
from varc.errors import InputError
from varc.files import file_sha256, unchanged, whole
from varc.models.kinds import check_kind
from varc.seal import read_json, write_json

Card = dict[str, Any]
C = TypeVar("C")  # a model's configuration, a dataclass
M = TypeVar("M", bound=nn.Module)


def card_path(weights: str | Path) -> Path:
    """The card of a weights file: the same name, with the suffix .json."""
    return Path(weights).with_suffix(".json")


def save_model(path: str | Path, model: nn.Module, card: Card) -> None:
    """Writes weights and card as save_weights does; the card gets the architecture too (the model's config, a
    dataclass)."""
    save_weights(path, model, {"architecture": dataclasses.asdict(model.config), **card})  # type: ignore[call-overload]


def save_weights(path: str | Path, model: nn.Module, card: Card) -> None:
    """Writes weights and card, each whole or not at all; the card gets version, parameters and sha256."""
    path = Path(path)
    with whole(path) as temporary:
        save_tensors(model.state_dict(), temporary)
        full = {
            "version": varc.__version__,
            "parameters": sum(p.numel() for p in model.parameters()),
            "sha256": file_sha256(temporary),
            **card,
        }
        write_json(card_path(path), full)


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file. Raises OSError where it cannot be written."""
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        raise OSError(str(error)) from None


def read_card(weights: str | Path) -> Card:
    """The card of a weights file. Raises InputError as read_json does."""
    return read_json(card_path(weights))


def load_model(path: str | Path, model: Callable[[C], M], config: type[C]) -> tuple[M, Card]:
    """A model that was trained here, in eval mode, and its card. model: makes one of a configuration's shape.

    Raises InputError as read_card, read_weights and assign_weights do, and for a card of another kind of model.
    """
    card = read_card(path)
    with torch.device("meta"):
        empty = model(architecture(config, card, path))
    return assign_weights(empty, path, read_weights(path, card)), card


def architecture(config: type[C], card: Card, path: str | Path) -> C:
    """The model's shape from its card."""
    try:
        shape: Any = {key: tuple(v) if isinstance(v, list) else v for key, v in card["architecture"].items()}
        return config(**shape)
    except (KeyError, TypeError) as error:
        raise InputError(f"{card_path(path)}: architecture does not describe a {config.__name__} ({error})") from None


def read_weights(path: str | Path, card: Card) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises InputError for one that is unreadable or not the card's."""
    check_kind(path)
    try:
        with unchanged([path]):
            found, sha256 = load_file(path), file_sha256(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: the weights cannot be read ({error})") from None
    if sha256 != card.get("sha256"):
        raise InputError(f"{path}: its SHA-256 is not the one in {card_path(path).name}; the two must belong together")
    return found


def assign_weights(model: M, path: str | Path, state: dict[str, Tensor]) -> M:
    """Gives a model on the meta device its weights, without a copy, and returns it in eval mode.

    Raises InputError for missing, unexpected and misshapen keys, and for weights that are not finite.
    """
    wrong = misfits(model.state_dict(), state)
    if wrong:
        raise InputError(f"{path}: {len(wrong)} keys do not fit the architecture: {'; '.join(wrong[:5])}")
    check_finite(path, state)
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


def misfits(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """What is wrong with a state dict, one text per key: missing, unexpected, or of another shape."""
    missing = [f"missing {name}" for name in expected if name not in found]
    unexpected = [f"unexpected {name}" for name in found if name not in expected]
    misshapen = [
        f"{name} is {tuple(found[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    return missing + unexpected + misshapen


def check_finite(path: str | Path, tensors: dict[str, Tensor]) -> None:
    """Raises InputError naming the weights that hold NaN or infinity. Masks are not weights."""
    bad = [
        name for name, tensor in tensors.items() if not name.endswith("attn_bias_for_masking") and not finite(tensor)
    ]
    if bad:
        raise InputError(f"{path}: {len(bad)} tensors hold NaN or infinity, first {bad[0]}; use another checkpoint")


def finite(tensor: Tensor) -> bool:
    """Whether all numbers are finite, in pieces, so that a large tensor needs no second one beside it."""
    return all(bool(torch.isfinite(part).all()) for part in tensor.flatten().split(2**22))
