"""The diffusion classifier DC(n1, n2) of Li et al. 2023 (arXiv 2303.16203): the error of the predicted noise.

Two stages of a classifier, {draws: n1, keep: 5} and {draws: n2}, are DC(n1, n2).
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, DiTTransformer2DModel
from numpy.typing import NDArray
from torch import Tensor, nn

from varc.baselines.dit import dit, known_draws, mean_errors, pass_cost
from varc.baselines.family import Cost, Earlier, Images, device_of
from varc.baselines.pixels import planes
from varc.baselines.settings.diffusion import Scoring, Shape, Training
from varc.baselines.weights import read_pretrained
from varc.costs.counting import FeatureExtractor, count
from varc.data.tensors import to_input
from varc.errors import InputError
from varc.keep import Keep, at_once
from varc.training.loop import optimise

STEPS = 1000  # of the noise schedule
LATENT_STRIDE, LATENT_CHANNELS = 8, 4  # of Stable Diffusion's autoencoder
ENCODER_BATCH = 16
LOSSES = {"l2": torch.square, "l1": torch.abs}


class Diffusion(nn.Module):
    """A transformer that predicts the noise in x_t = sqrt(a_t) x + sqrt(1 - a_t) noise, and its autoencoder, if any."""

    def __init__(self, transformer: DiTTransformer2DModel, autoencoder: AutoencoderKL | None):
        super().__init__()
        self.transformer, self.autoencoder = transformer, autoencoder

    def forward(self, noisy: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """The predicted noise (B, C, H, W) at times (B,) of the schedule; a predicted variance is left out."""
        found = self.transformer(noisy, times, class_labels=labels, return_dict=False)[0]
        return found[:, : noisy.shape[1]]


def side_and_channels(shape: Shape) -> tuple[int, int]:
    """Side and channels of what the transformer sees."""
    return (shape.image_size // LATENT_STRIDE, LATENT_CHANNELS) if shape.latent else (shape.image_size, shape.channels)


def transformer(shape: Shape, depth: int, classes: int) -> DiTTransformer2DModel:
    """The transformer, of another depth perhaps; DiT-XL/2 predicts variances too."""
    side, channels = side_and_channels(shape)
    out = 2 * channels if shape.latent else channels
    sizes = {"patch_size": shape.patch_size, "width": shape.width, "heads": shape.heads, "classes": classes}
    return dit(side=side, channels=channels, out_channels=out, depth=depth, **sizes)


def autoencoder() -> AutoencoderKL:
    """Stable Diffusion's autoencoder, of random weights."""
    down, up = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=down,
        up_block_types=up,
        layers_per_block=2,
        latent_channels=LATENT_CHANNELS,
    )


def build(shape: Shape, classes: int) -> Diffusion:
    """A model of random weights."""
    return Diffusion(transformer(shape, shape.depth, classes), autoencoder() if shape.latent else None)


@functools.cache
def signal_shares() -> Tensor:
    """a_t (1000,) of the linear schedule of Ho et al. 2020: the share of the signal's variance."""
    return DDPMScheduler(num_train_timesteps=STEPS, beta_schedule="linear").alphas_cumprod


def noised(latents: Tensor, times: Tensor, noise: Tensor) -> Tensor:
    """x_t (B, C, H, W) of latents at times (B,), whole numbers."""
    a = signal_shares().to(latents.device)[times].view(-1, 1, 1, 1)
    return a.sqrt() * latents + (1 - a).sqrt() * noise


def train(
    model: Diffusion,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    training: Training,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """Mean squared error of the predicted noise, at times drawn evenly. Raises InputError for a model of latents."""
    if model.autoencoder is not None:
        raise InputError("latent: true goes with checkpoint; training here is on pixels")
    device, generator = device_of(model), torch.Generator().manual_seed(seed)
    data = planes(images, model.transformer.config.in_channels)
    of = torch.from_numpy(labels)

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        chosen = torch.randint(len(data), (training.batch_size,), generator=generator)
        times = torch.randint(STEPS, (training.batch_size,), generator=generator).to(device)
        x = data[chosen].to(device)
        noise = torch.randn(x.shape, generator=generator).to(device)
        yield {"loss": F.mse_loss(model(noised(x, times, noise), times, of[chosen].to(device)), noise)}

    model.eval()  # no dropout of labels: nothing is guided here
    optimise(list(model.parameters()), losses, steps=training.steps, lr=training.lr, report=report)


@torch.inference_mode()
def encode(model: Diffusion, pixels: NDArray[np.uint8], keep: Keep = at_once) -> Tensor:
    """What the transformer sees (N, C, H, W), on the CPU: pixels, or the mean of the autoencoder's latents, scaled."""
    device, encoder = device_of(model), model.autoencoder
    if encoder is None:
        return planes(pixels, model.transformer.config.in_channels)

    def mean(first: int) -> NDArray[np.float32]:
        batch = to_input(pixels[first : first + ENCODER_BATCH]).to(device)
        return encoder.encode(batch).latent_dist.mean.cpu().numpy()

    means = [keep(functools.partial(mean, i)) for i in range(0, len(pixels), ENCODER_BATCH)]
    return torch.cat([torch.from_numpy(part) for part in means]) * encoder.config.scaling_factor


def score(
    model: Diffusion, images: Images, candidates: NDArray[np.int32], scoring: Scoring, earlier: Earlier | None
) -> NDArray[np.float64]:
    """Minus the mean error (N, M) of the predicted noise, per number and draw."""

    def errors(latents: Tensor, times: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        steps = (times * STEPS).long()
        difference = (model(noised(latents, steps, noise), steps, labels) - noise).double().flatten(1)
        return LOSSES[scoring.loss](difference).mean(1)

    latents = encode(model, images.pixels, images.keep)
    ids = [str(image_id) for image_id in images.image_ids]
    device, keep = device_of(model), images.keep
    return mean_errors(errors, latents, ids, candidates, scoring, images.seed, earlier, device, keep)


def cost(shape: Shape, classes: int, scoring: Scoring, candidates: int, earlier: Scoring | None) -> Cost:
    """One pass per candidate and draw that is new; the autoencoder counts in the first stage.

    DC(25, 250) of DiT-XL/2 on 100 classes has the published 415056.0 G: 3,625 passes and one encoding.
    """

    def module(depth: int) -> tuple[DiTTransformer2DModel, nn.Module]:
        small = transformer(shape, depth, 1)
        return small, Diffusion(small, None)

    one = pass_cost(module, shape.depth, side_and_channels(shape)[0])
    passes = candidates * (scoring.draws - known_draws(scoring, earlier))
    encoder = encoder_cost(shape.image_size) if shape.latent and earlier is None else Cost(0, 0.0)
    attention = passes * one.attention_gflops + encoder.attention_gflops
    return Cost(passes, passes * one.gflops + encoder.gflops, attention)


@functools.cache
def encoder_cost(image_size: int) -> Cost:
    """The cost of an image's latents."""
    encoder = FeatureExtractor(autoencoder()).eval().bfloat16()
    with torch.no_grad():
        return Cost(0, *count(encoder, torch.zeros(1, 3, image_size, image_size, dtype=torch.bfloat16)))


def load_public(path: str | Path, shape: Shape, classes: int) -> Diffusion:
    """A folder of diffusers such as facebook/DiT-XL-2-256: transformer/ and vae/, safetensors only.

    Raises InputError where it cannot be read, for another shape, and for weights that are missing or not finite.
    """
    found, vae = (public_part(path, *part) for part in ((DiTTransformer2DModel, "transformer"), (AutoencoderKL, "vae")))
    expected = transformer_sizes(transformer(shape, 1, classes)) | {"num_layers": shape.depth}
    if different := {k: v for k, v in expected.items() if found.config[k] != v}:
        wrong = ", ".join(f"{key} {found.config[key]}, expected {value}" for key, value in different.items())
        raise InputError(f"{path}: the transformer has another shape than the config says: {wrong}")
    return Diffusion(found.eval(), vae.eval())


def public_part(path: str | Path, kind: Any, name: str) -> Any:
    """A model of a diffusers class from a subfolder. Raises InputError as load_public does."""
    unreadable = f"{path}: {name} cannot be read as a diffusers folder"
    return read_pretrained(kind, path, f"{path}: {name}", unreadable, subfolder=name)


def transformer_sizes(model: DiTTransformer2DModel) -> dict[str, int]:
    """What a transformer's config says of its shape."""
    keys = ("num_attention_heads", "attention_head_dim", "in_channels", "sample_size", "patch_size")
    return {key: model.config[key] for key in (*keys, "num_layers", "num_embeds_ada_norm")}
