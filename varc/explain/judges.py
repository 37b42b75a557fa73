"""Who judges a map: the classifier that it explains, another network, or any rival."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from varc.baselines.family import Family, Images
from varc.data.tensors import to_input
from varc.device import products_in
from varc.explain.faithfulness import Judge, Pixels
from varc.explain.tmi import embedding_rows
from varc.keep import Keep, at_once
from varc.models.var import VAR
from varc.models.vqvae import VQVAE
from varc.planning import images_at_once
from varc.scoring.batching import pairs_per_batch
from varc.scoring.likelihood import score
from varc.scoring.smoothing import clean_tokens


def varc_judge(
    vqvae: VQVAE, var: VAR, class_ids: NDArray[np.int32], device: torch.device, keep: Keep = at_once
) -> Judge:
    """VARC: log-likelihoods (B, M) of images under the classes (M,), -1 for the unconditional one, in nats.

    How many pairs go through the model at a time is decided here, for all images, and a piece for `keep`. Raises
    InputError for a class that the model lacks.
    """
    size = int(keep(lambda: np.array(pairs_per_batch(var, var.config.num_tokens, device))))
    classes = embedding_rows(class_ids, var.config.num_classes).astype(np.int32)

    def judge(images: Pixels) -> NDArray[np.float64]:
        tokens = clean_tokens(vqvae, images, images_at_once(vqvae.config.image_size), device)
        candidates = np.tile(classes, (len(images), 1))
        return score(var, vqvae.quantize, tokens, candidates, device=device, batch_size=size).sum(-1)

    return judge


def network_judge(
    net: nn.Module, class_ids: NDArray[np.int32], device: torch.device, precision: str = "float32"
) -> Judge:
    """A discriminative network: logits (B, M) of the classes (M,). precision: float32, tf32, or bf16 by autocast."""
    amp = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    columns = torch.from_numpy(class_ids.astype(np.int64))

    def judge(images: Pixels) -> NDArray[np.float64]:
        with torch.inference_mode(), products_in(precision), amp:
            return net(to_input(images).to(device)).cpu()[:, columns].double().numpy()

    return judge


def baseline_judge(kind: Family, model: nn.Module, scoring: Any, class_ids: NDArray[np.int32], seed: int) -> Judge:
    """A rival: its scores (B, M) of the classes (M,).

    Where it draws noise, the noise is the same for all images, so that a curve follows the images alone.
    """

    def judge(images: Pixels) -> NDArray[np.float64]:
        same = Images(images, np.full(len(images), "judge", dtype=object), seed)
        return kind.score(model, same, np.tile(class_ids, (len(images), 1)), scoring, None)

    return judge
