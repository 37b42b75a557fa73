"""One image explained in one call, for a notebook or the command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from varc.device import pick_device
from varc.errors import InputError
from varc.explain.judges import varc_judge
from varc.explain.picture import Row, draw, scale_panels, whole_panel
from varc.explain.pixels import Settings, model_pixels
from varc.explain.tmi import UNCONDITIONAL, tmi
from varc.models.pair import load_pair
from varc.models.var import VAR
from varc.models.vqvae import VQVAE
from varc.scoring.likelihood import score_tokens
from varc.scoring.smoothing import clean_tokens


class Explanation(NamedTuple):
    """Why `target`, and why not `against` (class_ids; -1 is the unconditional class)."""

    target: int
    against: int
    per_token: NDArray[np.float32]  # (L,), target against unconditional, nats
    contrast: NDArray[np.float32]  # (L,), target against `against`, nats
    figure: Figure
    summary: str
    log_likelihoods: NDArray[np.float64]  # (3,), of target, `against` and no class, nats


def load_models(vqvae: str | Path, var: str | Path) -> tuple[VQVAE, VAR]:
    """Both models of a pair of files: trained here (with a card beside them), or public checkpoints."""
    pair = load_pair(vqvae, var)
    return pair.vqvae, pair.var


def explain_image(
    image: str | Path | Image.Image,
    vqvae: VQVAE,
    var: VAR,
    *,
    target: int | None = None,
    against: int | str = "runner_up",
    names: dict[int, str] | None = None,
    device: str = "auto",
    settings: Settings | None = None,
) -> Explanation:
    """TMI of an image, and what tells its target from another class; `figure` is the picture.

    target: a class_id, or VARC's prediction among the candidates. against: a class_id, "unconditional", or "runner_up",
    the best candidate other than the target. names: class_id -> name of the candidates; all classes without it. All
    candidates are scored only where prediction or runner-up are asked for. settings: size, resize and border of the
    data set whose images this one is to be prepared like, so that it gets the log-likelihoods of a run; without them an
    image of another size than the model's is resized and cropped as by `size` alone. Raises InputError for a class that
    the model lacks, and as model_pixels does.
    """
    chosen = pick_device(device)
    vqvae, var = vqvae.to(chosen), var.to(chosen)
    pixels = model_pixels(image, vqvae.config.image_size, settings)
    candidates = np.array(sorted(names or range(var.config.num_classes)), np.int32)
    log_likelihood = np.full(len(candidates), np.nan)
    if target is None or against == "runner_up":
        log_likelihood = varc_judge(vqvae, var, candidates, chosen)(pixels[None])[0]
    if target is None:
        target = int(candidates[log_likelihood.argmax()])
    if against == "runner_up":
        against = int(candidates[np.where(candidates == target, -np.inf, log_likelihood).argmax()])
    return explain_pixels(pixels, vqvae, var, target, against, names or {}, chosen)


def explain_pixels(
    pixels: NDArray[np.uint8],
    vqvae: VQVAE,
    var: VAR,
    target: int,
    against: int | str,
    names: Mapping[int, str],
    device: torch.device,
) -> Explanation:
    """TMI of pixels as the models take them, which are on the device. target, against: class_ids, or against
    "unconditional". names: class_id -> name. Raises InputError for a class that the model lacks."""
    other = UNCONDITIONAL if against == "unconditional" else int(against)
    for class_id in (target, other):
        if not UNCONDITIONAL <= class_id < var.config.num_classes:
            raise InputError(f"class {class_id}: the model knows 0 to {var.config.num_classes - 1} only")
    tokens = clean_tokens(vqvae, pixels[None], 1, device)
    roles = np.array([[target, other, UNCONDITIONAL]], np.int32)
    roles[roles == UNCONDITIONAL] = var.config.num_classes
    log_prob = score_tokens(var, vqvae.quantize, tokens, roles, device=device)
    per_token, contrast = (tmi([log_prob[:, 0]], [log_prob[:, i]])[0] for i in (2, 1))
    patch_nums = var.config.patch_nums
    first, second = (names.get(c, "no class" if c == UNCONDITIONAL else f"class {c}") for c in (target, other))
    maps = [whole_panel(first, per_token, patch_nums)]
    if other != UNCONDITIONAL:
        maps.append(whole_panel(f"{first}, not {second}", contrast, patch_nums))
    nats = log_prob[0].sum(-1, dtype=np.float64)
    summary = f"log p(x|{first}) = {nats[0]:.2f}, log p(x|{second}) = {nats[1]:.2f}, log p(x) = {nats[2]:.2f} nats"
    figure = draw([Row(pixels, first, maps + scale_panels(per_token, patch_nums))])
    return Explanation(target, other, per_token, contrast, figure, summary, nats)
