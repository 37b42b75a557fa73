"""What the discriminative networks share: training by cross-entropy, logits, and weights from Hugging Face folders."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from varc.baselines.family import Cost, Images, columns, device_of
from varc.baselines.weights import read_pretrained
from varc.bounded import read_json
from varc.costs.counting import count
from varc.data.tensors import to_input
from varc.errors import InputError
from varc.training.loop import optimise

BATCH = 64  # images scored at a time


def fit(
    net: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """Minimises the cross-entropy over all classes of net((B, 3, H, W) in [-1, 1]), in place; ends in eval mode."""
    device, generator = device_of(net), torch.Generator().manual_seed(seed)
    targets = torch.from_numpy(labels.astype(np.int64))

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        chosen = torch.randint(len(images), (batch_size,), generator=generator)
        batch = to_input(images[chosen.numpy()]).to(device)
        yield {"loss": F.cross_entropy(net(batch), targets[chosen].to(device))}

    optimise(net.train().parameters(), losses, steps=steps, lr=lr, report=report)
    net.eval()


@torch.inference_mode()
def logits(net: nn.Module, images: Images, candidates: NDArray[np.int32]) -> NDArray[np.float64]:
    """The logits (N, M) of the candidates (N, M), in eval mode."""
    net.eval()
    device = device_of(net)

    def of_batch(first: int) -> NDArray[np.float32]:
        return net(to_input(images.pixels[first : first + BATCH]).to(device)).cpu().numpy()

    scores = np.concatenate([images.keep(partial(of_batch, i)) for i in range(0, len(images.pixels), BATCH)])
    return columns(scores, np.arange(scores.shape[1]), candidates)


def one_pass(net: nn.Module, image_size: int) -> Cost:
    """What one image takes for all classes: one pass."""
    return Cost(1, *count(net.eval(), torch.zeros(1, 3, image_size, image_size)))


def public_network(path: str | Path, kind: Any, expected: Any, keys: tuple[str, ...]) -> Any:
    """A network of a transformers class from a Hugging Face folder (config.json, model.safetensors), in eval mode.

    expected: the configuration that the config's shape and classes stand for; it must be the folder's in `keys` and in
    the number of classes. Raises InputError for a folder that lacks a file, of another shape or number of classes, and
    for weights that are unreadable, missing, misshapen or not finite. Nothing is downloaded, and no code is run.
    """
    folder = Path(path)
    check_config(folder / "config.json", read_config(folder, expected), expected, keys)
    weights = folder / "model.safetensors"
    unreadable = f"{weights}: the weights cannot be read"
    net = read_pretrained(kind, folder, weights, unreadable, config=expected, dtype=torch.float32)
    return net.eval().requires_grad_(False)


def read_config(folder: Path, expected: Any) -> Any:
    """The folder's configuration. Raises InputError where a file is absent, and where config.json is unreadable or of
    another kind of model."""
    for path in (folder / "config.json", folder / "model.safetensors"):
        if not path.is_file():
            raise InputError(f"{path}: no such file; checkpoint must be a Hugging Face folder with safetensors")
    path = folder / "config.json"
    try:
        found = read_json(path)
        kind = found.get("model_type")
        if kind != expected.model_type:
            raise InputError(f"{path}: model_type is {kind!r}, but the family is {expected.model_type!r}")
        return type(expected).from_dict(found)
    except InputError:
        raise
    except Exception as error:  # the library's own checks
        raise InputError(f"{path}: cannot be read as a model's configuration ({error})") from None


def check_config(path: Path, own: Any, expected: Any, keys: tuple[str, ...]) -> None:
    """Raises InputError where the folder's configuration is not the expected one."""
    for key in keys:
        found, wanted = getattr(own, key), getattr(expected, key)
        if found != wanted:
            raise InputError(f"{path}: {key} is {found}, but shape: says {wanted}; the two must belong together")
    if own.num_labels != expected.num_labels:
        raise InputError(
            f"{path}: the folder's model has {own.num_labels} classes, but classes: says {expected.num_labels}"
        )
