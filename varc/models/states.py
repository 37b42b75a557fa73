"""Public checkpoints: read without running code, their shapes told from the tensors."""

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from varc.errors import InputError
from varc.models.architectures import PATCH_NUMS_256, PATCH_NUMS_512
from varc.models.checkpoints import Card, assign_weights, file_sha256
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAE, VQVAEConfig

State = dict[str, Tensor]
NESTINGS = (("trainer", "var_wo_ddp"), ("var_wo_ddp",))


def load_public_vqvae(
    path: str | Path,
    *,
    patch_nums: Sequence[int] | None = None,
    norm_groups: int = 32,
    architecture: dict[str, Any] | None = None,
    sha256: str | None = None,
) -> tuple[VQVAE, Card]:
    """The VQ-VAE in a public checkpoint, in eval mode, and its card.

    patch_nums and norm_groups show in no tensor: by default those of the public models at 256 px. architecture: the
    shape that is expected. sha256: of the file, computed here if not given. Raises InputError as read_state and
    assign_weights do, for tensors that describe no VQ-VAE, and for another shape than expected.
    """
    state = read_state(path)
    config = vqvae_shape(path, state, patch_nums, norm_groups)
    check_architecture(path, config, architecture or {})
    with torch.device("meta"):
        model = VQVAE(config)
    return assign_weights(model, path, state), public_card(model, path, sha256)


def load_public_var(
    path: str | Path,
    *,
    patch_nums: Sequence[int] | None = None,
    architecture: dict[str, Any] | None = None,
    sha256: str | None = None,
) -> tuple[VAR, Card]:
    """The VAR in a public checkpoint, in eval mode, and its card; see load_public_vqvae.

    patch_nums follow from the number of positions where it is that of a public schedule (680 or 2240).
    """
    state = read_state(path)
    config = var_shape(path, state, patch_nums)
    check_architecture(path, config, architecture or {})
    with torch.device("meta"):
        model = VAR(config)
    return assign_weights(model, path, state), public_card(model, path, sha256)


def public_card(model: VQVAE | VAR, path: str | Path, sha256: str | None) -> Card:
    """What the card of a model that was trained here says too, as far as a checkpoint shows it."""
    return {
        "architecture": {**vars(model.config)},
        "parameters": sum(p.numel() for p in model.parameters()),
        "sha256": sha256 or file_sha256(path),
        "source": Path(path).name,
    }


def read_state(path: str | Path) -> State:
    """The state dict of a .pth or .safetensors file: bare, or below trainer.var_wo_ddp or var_wo_ddp.

    Memory-mapped, so a tensor takes memory when it is read. Raises InputError for a file that is unreadable, for a
    pickle that holds anything but tensors and plain containers (it is never run), and for tensors that are not
    float32.
    """
    safe = Path(path).suffix == ".safetensors"
    state = read_safetensors(path) if safe else unnested(path, read_pickle(path))
    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise InputError(f"{path}: {name} is {tensor.dtype}, expected torch.float32; convert the checkpoint")
    return state


def read_safetensors(path: str | Path) -> State:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: the weights cannot be read ({error})") from None


def read_pickle(path: str | Path) -> Any:
    """What torch.save wrote, with weights_only=True always; files in the format before torch 1.6 are not mapped."""
    try:
        zipped = zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path}: refused, since it is no plain file of tensors and could run code when opened ({reason}); "
            f"use the published checkpoint, or save its state dict as safetensors"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(f"{path}: the weights cannot be read ({error}); download the checkpoint again") from None


def unnested(path: str | Path, content: Any) -> State:
    """The state dict inside what was read."""
    for keys in NESTINGS:
        inner = content
        for key in keys:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            content = inner
            break
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(
            f"{path}: holds no state dict, neither bare nor under trainer.var_wo_ddp or var_wo_ddp; use another file"
        )
    return content


def dimension(path: str | Path, state: State, name: str, axis: int) -> int:
    """A size of a tensor that tells the shape of the model."""
    if name not in state or state[name].ndim <= axis:
        raise InputError(f"{path}: missing {name}; expected the keys of a public VAR checkpoint ({len(state)} found)")
    return state[name].shape[axis]


def numbered(state: State, prefix: str) -> int:
    """How many modules of a list, `prefix`.0, `prefix`.1, ..., the state dict has."""
    return len({name.removeprefix(f"{prefix}.").split(".")[0] for name in state if name.startswith(f"{prefix}.")})


def vqvae_shape(
    path: str | Path, state: State, patch_nums: Sequence[int] | None = None, norm_groups: int = 32
) -> VQVAEConfig:
    """The shape of a VQ-VAE from its tensors; see load_public_vqvae. Raises InputError for other tensors."""
    ch = dimension(path, state, "encoder.conv_in.weight", 0)
    scales = dimension(path, state, "quantize.ema_vocab_hit_SV", 0)
    patch_nums = tuple(patch_nums or PATCH_NUMS_256)
    if len(patch_nums) != scales:
        raise InputError(f"{path}: has {scales} scales, but patch_nums are {list(patch_nums)}; give its patch_nums")
    if ch % norm_groups:
        raise InputError(f"{path}: {ch} channels do not divide into {norm_groups} groups; give its norm_groups")
    levels = range(numbered(state, "encoder.down"))
    widths = [dimension(path, state, f"encoder.down.{i}.block.0.conv1.weight", 0) for i in levels]
    return VQVAEConfig(
        patch_nums=patch_nums,
        ch=ch,
        ch_mult=tuple(width // ch for width in widths),
        num_res_blocks=numbered(state, "encoder.down.0.block"),
        z_channels=dimension(path, state, "quant_conv.weight", 0),
        vocab_size=dimension(path, state, "quantize.embedding.weight", 0),
        norm_groups=norm_groups,
    )


def var_shape(path: str | Path, state: State, patch_nums: Sequence[int] | None = None) -> VARConfig:
    """The shape of a VAR from its tensors; see load_public_var. Raises InputError for other tensors."""
    positions = dimension(path, state, "pos_1LC", 1)
    schedules = [patch_nums] if patch_nums else [PATCH_NUMS_256, PATCH_NUMS_512]
    fitting = [tuple(s) for s in schedules if sum(p * p for p in s) == positions]
    if not fitting:
        known = " or ".join(str(list(s)) for s in schedules)
        raise InputError(f"{path}: has {positions} positions, which is not {known}; give its patch_nums")
    return VARConfig(
        depth=numbered(state, "blocks"),
        width=dimension(path, state, "class_emb.weight", 1),
        heads=dimension(path, state, "blocks.0.attn.scale_mul_1H11", 1),
        num_classes=dimension(path, state, "class_emb.weight", 0) - 1,
        vocab_size=dimension(path, state, "head.weight", 0),
        z_channels=dimension(path, state, "word_embed.weight", 1),
        patch_nums=fitting[0],
        shared_adaln="shared_ada_lin.1.weight" in state,
    )


def check_architecture(path: str | Path, found: VQVAEConfig | VARConfig, expected: dict[str, Any]) -> None:
    """Raises InputError where the tensors have another shape than the config's `architecture` says."""
    for key, value in expected.items():
        own = getattr(found, key)
        own = list(own) if isinstance(own, tuple) else own
        if own != value:
            raise InputError(f"{path}: {key} is {own}, but its architecture says {value}; name the right architecture")
