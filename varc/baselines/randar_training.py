"""Training of an any-order model on small images: its tokeniser first, then the transformer on the tokens."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from varc.baselines.any_order import AnyOrder
from varc.baselines.vq import VQ
from varc.data.tensors import to_input
from varc.training.loop import optimise

COMMITMENT = 0.25
LABEL_DROPOUT = 0.1  # share of the labels that become the unconditional class
WARM_UP = 0.05  # of the tokeniser's steps: without codes, so that the first ones describe features that mean something
RENEWED = 50  # steps after which codes that nothing was near to are put where features are


def train_tokeniser(
    model: VQ,
    images: NDArray[np.uint8],
    *,
    steps: int,
    batch_size: int,
    lr: float,
    generator: torch.Generator,
    device: torch.device,
    report: Callable[[str], None],
) -> None:
    """Reconstruction of images (N, H, W, 3) by mean squared error with a straight-through gradient, and the distance of
    features and codes on the unit sphere."""
    codes = model.quantize.embedding.weight
    used = torch.zeros(len(codes), device=device)

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        chosen = torch.randint(len(images), (batch_size,), generator=generator)
        x = to_input(images[chosen.numpy()]).to(device)
        features = F.normalize(model.features(x), dim=1)  # (B, d, g, g)
        if step < steps * WARM_UP:
            yield {"loss": F.mse_loss(model.decode(features), x)}
            return
        rows = features.permute(0, 2, 3, 1)  # (B, g, g, d)
        if not (step - first) % RENEWED:
            renew(codes, used, rows.detach().flatten(0, 2), generator)
        nearest = model.quantize.nearest(rows.detach())
        used[nearest.unique()] += 1
        quantised = model.quantize.codes()[nearest]
        straight = rows + (quantised - rows).detach()
        error = F.mse_loss(model.decode(straight.permute(0, 3, 1, 2)), x)
        matching, commitment = F.mse_loss(quantised, rows.detach()), F.mse_loss(rows, quantised.detach())
        yield {"loss": error + matching + COMMITMENT * commitment, "reconstruction": error}

    first = int(np.ceil(steps * WARM_UP))
    optimise(list(model.parameters()), losses, steps=steps, lr=lr, report=lambda line: report(f"tokeniser: {line}"))


@torch.no_grad()
def renew(codes: Tensor, used: Tensor, features: Tensor, generator: torch.Generator) -> None:
    """Puts the codes (V, d) that were not used (V,) at features (M, d) drawn at random, and counts anew."""
    unused = (used == 0).nonzero()[:, 0]
    drawn = torch.randint(len(features), (len(unused),), generator=generator).to(features.device)
    codes[unused] = features[drawn]
    used.zero_()


def train_transformer(
    model: AnyOrder,
    tokens: NDArray[np.int64],
    labels: NDArray[np.int64],
    *,
    steps: int,
    batch_size: int,
    lr: float,
    generator: torch.Generator,
    device: torch.device,
    report: Callable[[str], None],
) -> None:
    """Cross-entropy of tokens (N, L), raster, each image's in an order drawn anew in every step."""
    data, of = torch.from_numpy(tokens), torch.from_numpy(labels)

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        chosen = torch.randint(len(data), (batch_size,), generator=generator)
        orders = torch.rand(batch_size, data.shape[1], generator=generator).argsort(1)
        dropped = torch.rand(batch_size, generator=generator) < LABEL_DROPOUT
        seen = torch.where(dropped, model.config.num_classes, of[chosen]).to(device)
        own = data[chosen].gather(1, orders).to(device)
        logits = model.output(model.hidden(own, orders.to(device), seen)[:, 1::2])  # (B, L, V)
        yield {"loss": F.cross_entropy(logits.flatten(0, 1), own.flatten())}

    optimise(list(model.parameters()), losses, steps=steps, lr=lr, report=lambda line: report(f"transformer: {line}"))
