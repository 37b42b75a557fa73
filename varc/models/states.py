"""Public checkpoints of any model: state dicts, read without running code, and what their tensors tell."""

import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from varc.errors import InputError
from varc.files import check_sha256, file_sha256, unchanged
from varc.models.kinds import check_kind
from varc.models.weights import Card

State = dict[str, Tensor]
NESTINGS = (("trainer", "var_wo_ddp"), ("var_wo_ddp",), ("model",), ("state_dict",))
DEEPEST = 8  # nestings that are looked into
COMPILED, PARALLEL = "_orig_mod", "module"  # what torch.compile and DistributedDataParallel write before names
REFUSED_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def public_card(model: nn.Module, path: str | Path, sha256: str) -> Card:
    """What the card of a model that was trained here says too, as far as a checkpoint shows it. sha256: of the file."""
    return {
        "architecture": {**vars(model.config)},
        "parameters": sum(p.numel() for p in model.parameters()),
        "sha256": sha256,
        "source": Path(path).name,
    }


def read_hashed_state(path: str | Path, sha256: str | None = None) -> tuple[State, str]:
    """The state dict of a file as read_state returns it, and the SHA-256 of the file, made here and now.

    Raises InputError as read_state does, for another SHA-256 than is given, and for a file that changes meanwhile.
    """
    with unchanged([path]):
        state, found = read_state(path), file_sha256(path)
    check_sha256(path, found, sha256)
    return state, found


def read_state(path: str | Path) -> State:
    """The state dict of a .pth or .safetensors file: bare, or below trainer.var_wo_ddp, var_wo_ddp, model or
    state_dict; without the prefixes _orig_mod. and module.

    Memory-mapped, so a tensor takes memory when it is read. Raises InputError for a file that is unreadable, for a
    pickle that holds anything but tensors and plain containers (it is never run), for another kind of file than its
    suffix says, and for tensors that are not float32.
    """
    check_kind(path)
    safe = Path(path).suffix == ".safetensors"
    state = unprefixed(path, read_safetensors(path) if safe else unnested(path, read_pickle(path)))
    size = os.path.getsize(path)
    for name, tensor in state.items():
        if tensor.numel() * tensor.element_size() > size:  # a view of few bytes may have any shape
            raise InputError(f"{path}: {name} claims {tuple(tensor.shape)}, more than the file holds; use another file")
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise InputError(f"{path}: {name} is {tensor.dtype}, expected torch.float32; convert the checkpoint")
    return state


def read_safetensors(path: str | Path) -> State:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except Exception as error:  # damaged files make it raise nearly anything
        raise InputError(f"{path}: the weights cannot be read ({error}); download the file again") from None


def read_pickle(path: str | Path) -> Any:
    """What torch.save wrote, with weights_only=True always; files in the format before torch 1.6 are not mapped."""
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped:
            check_stored(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        found = REFUSED_GLOBAL.search(str(error))
        reason = f"it asks for {found[1]}" if found else "what it asks for is unknown"
        raise InputError(
            f"{path}: refused, since it is no plain file of tensors and could run code when opened ({reason}); "
            f"use the published checkpoint, or save its state dict as safetensors"
        ) from None
    except Exception as error:  # a damaged pickle makes it raise nearly anything
        reason = " ".join(str(error).split())
        if " " not in reason or "weights_only" in reason:  # never its advice to run what it refuses
            reason = f"no file of torch.save: {type(error).__name__}"
        raise InputError(f"{path}: the weights cannot be read ({reason}); download the checkpoint again") from None


def check_stored(path: str | Path) -> None:
    """Raises InputError for a zip that unpacks to more than it is; torch.save compresses nothing."""
    with zipfile.ZipFile(path) as archive:
        packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise InputError(
            f"{path}: {packed[0]} in it is compressed, which torch.save never does; save it with torch.save"
        )


def unnested(path: str | Path, content: Any) -> State:
    """The state dict inside what was read."""
    depth = 0
    while (inner := nested(content)) is not None and depth < DEEPEST:  # a dict may hold itself
        content, depth = inner, depth + 1
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        nestings = ", ".join(".".join(keys) for keys in NESTINGS)
        raise InputError(f"{path}: holds no state dict, neither bare nor under one of {nestings}; use another file")
    return content


def nested(content: Any) -> dict[Any, Any] | None:
    """What stands under the first of NESTINGS that a dict has; None where it has none."""
    for keys in NESTINGS:
        inner = content
        for key in keys:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            return inner
    return None


def unprefixed(path: str | Path, state: State) -> State:
    """A state dict without what wrappers of a model write into its names: `_orig_mod` wherever it stands, `module`
    where all names begin with it. Raises InputError where two names become one."""
    names = {name: [part for part in str(name).split(".") if part != COMPILED] for name in state}
    while names and all(len(parts) > 1 and parts[0] == PARALLEL for parts in names.values()):
        names = {name: parts[1:] for name, parts in names.items()}
    found = {".".join(parts): state[name] for name, parts in names.items()}
    if len(found) < len(state):
        raise InputError(f"{path}: two of its names are the same without {COMPILED}; save the state dict of one model")
    return found


def dimension(path: str | Path, state: State, name: str, axis: int) -> int:
    """A size of a tensor that tells the shape of the model."""
    if name not in state or state[name].ndim <= axis:
        raise InputError(f"{path}: missing {name}; expected the keys of a public VAR checkpoint ({len(state)} found)")
    return state[name].shape[axis]


def numbered(state: State, prefix: str) -> int:
    """How many modules of a list, `prefix`.0, `prefix`.1, ..., the state dict has."""
    return len({name.removeprefix(f"{prefix}.").split(".")[0] for name in state if name.startswith(f"{prefix}.")})


def check_architecture(path: str | Path, found: Any, expected: dict[str, Any]) -> None:
    """Raises InputError where the tensors have another shape (a dataclass) than the config's `architecture` says."""
    for key, value in expected.items():
        own = getattr(found, key)
        own = list(own) if isinstance(own, tuple) else own
        if own != value:
            raise InputError(f"{path}: {key} is {own}, but its architecture says {value}; name the right architecture")
