"""Whole library functions on a device: tiny models and data, the same on every machine, and what comes out.

CASES[name](device) computes on the device and returns an array. Nothing here knows of the pretended GPU: on a real one
the same cases run.
"""

import contextlib
import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

Case = Callable[[torch.device], np.ndarray]
CASES: dict[str, Case] = {}

PATCH_NUMS = (1, 2, 3, 4)  # 30 tokens
CLASSES, CODES, SIDE = 10, 32, 8
IMAGES = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3)).astype(np.uint8)
TOKENS = np.random.default_rng(1).integers(0, CODES, (3, 6, 30)).astype(np.uint16)  # of three samples
LABELS = np.arange(6, dtype=np.int64) % 3
IDS = [f"image:{i}" for i in range(6)]
ALL = np.tile(np.arange(CLASSES, dtype=np.int32), (6, 1))  # candidates
FEW = np.tile(np.arange(3, dtype=np.int32), (6, 1))


def case(function: Case) -> Case:
    """Adds a function to the cases, under its name."""
    CASES[function.__name__] = function
    return function


def small_models(device: torch.device, shared_adaln: bool = False) -> tuple[Any, Any]:
    """A VQ-VAE and a VAR whose outputs depend on everything: as trained ones start, most gates are closed."""
    from varc.models.var import VAR, VARConfig
    from varc.models.vqvae import VQVAE, VQVAEConfig

    torch.manual_seed(0)
    vqvae = VQVAE(VQVAEConfig(PATCH_NUMS, 16, (1, 2), 1, 8, CODES, 8))
    var = VAR(VARConfig(2, 64, 2, CLASSES, CODES, 8, PATCH_NUMS, shared_adaln))
    for parameter in [*var.parameters(), vqvae.quantize.embedding.weight]:
        if parameter.ndim > 1:
            parameter.data = torch.randn(parameter.shape) * parameter.shape[-1] ** -0.5
    return tuple(model.to(device).eval().requires_grad_(False) for model in (vqvae, var))


def scores(var: Any, quantizer: Any, device: torch.device) -> np.ndarray:
    """What tells whether two VARs are alike."""
    from varc.scoring.likelihood import score

    return score(var, quantizer, TOKENS[0], ALL, device=device)


def flat(*parts: Any) -> np.ndarray:
    """Arrays of any shape as one."""
    return np.concatenate([np.asarray(part, np.float64).ravel() for part in parts])


def losses(curve: list[dict[str, float]]) -> list[float]:
    """The losses of a training curve."""
    return [row["loss"] for row in curve if "loss" in row]


# Scoring


@case
def score_all_classes(device):
    vqvae, var = small_models(device)
    return scores(var, vqvae.quantize, device)


@case
def score_shared_adaln(device):
    vqvae, var = small_models(device, shared_adaln=True)
    return scores(var, vqvae.quantize, device)


@case
def score_first_scales_in_small_batches(device):
    from varc.scoring.likelihood import score

    vqvae, var = small_models(device)
    candidates = np.sort(np.random.default_rng(0).permuted(ALL, axis=1)[:, :4], axis=1)
    return score(var, vqvae.quantize, TOKENS[0][:, :14], candidates, device=device, batch_size=7)


@case
def score_bf16(device):
    from varc.models.arithmetic import Arithmetic
    from varc.scoring.likelihood import computing, score

    vqvae, var = small_models(device)
    return score(computing(var, Arithmetic("bf16")), vqvae.quantize, TOKENS[0], ALL, device=device)


@case
def score_the_chosen(device):
    from varc.scoring.progressive import score_chosen

    vqvae, var = small_models(device)
    chosen = np.random.default_rng(0).random(ALL.shape) < 0.3
    return score_chosen(var, vqvae.quantize, TOKENS[0], ALL, chosen, device=device, batch_size=5)


@case
def score_each_token(device):
    from varc.scoring.likelihood import score_tokens

    vqvae, var = small_models(device)
    return score_tokens(var, vqvae.quantize, TOKENS[0], FEW, device=device)


@case
def plain_forward(device):
    from forward import log_prob_per_token

    from varc.scoring.likelihood import sum_per_scale

    vqvae, var = small_models(device)
    tokens = torch.from_numpy(TOKENS[0].astype(np.int64)).to(device)
    labels = torch.from_numpy(LABELS).to(device)
    log_prob = log_prob_per_token(var, vqvae.quantize.teacher_input(tokens), tokens, labels)
    return flat(log_prob.cpu(), sum_per_scale(log_prob, PATCH_NUMS).cpu())


@case
def score_guided(device):
    from varc.scoring.guidance import score_guided

    vqvae, var = small_models(device)
    return score_guided(var, vqvae.quantize, TOKENS[0], ALL, 1.5, device=device)


@case
def score_guided_resumed(device):
    """Killed in the middle of an image: what its other classes are held against comes back to the device."""
    from varc.parts import Parts
    from varc.scoring.guidance import score_guided

    class Killed(Exception):
        pass

    def report(done: int, total: int) -> None:
        if done == 16:
            raise Killed

    vqvae, var = small_models(device)
    run = partial(score_guided, var, vqvae.quantize, TOKENS[0], ALL, 1.5, device=device, batch_size=4)
    always = mock.patch.multiple("varc.keep", SECONDS=0.0, SHARE=math.inf)
    with tempfile.TemporaryDirectory() as folder, always:
        first = Parts(Path(folder) / "scores.parquet", {})
        with contextlib.suppress(Killed):
            run(keep=first, state=first.state, report=report)
        again = Parts(Path(folder) / "scores.parquet", {})
        assert len(again.kept) == 4 and again.state["unconditional"].device.type == "cpu"
        return run(keep=again, state=again.state)


def adaptive(thresholds: list[float], device: torch.device) -> np.ndarray:
    from varc.scoring.progressive import adaptive_scores

    vqvae, var = small_models(device)
    found = adaptive_scores(
        var, vqvae.quantize, list(TOKENS), ALL, np.array(thresholds), device=device, images_per_batch=4
    )
    return flat(*found)


CASES["adaptive_scores"] = partial(adaptive, [2.0, 4.0, 6.0, 8.0])
CASES["adaptive_scores_without_thresholds"] = partial(adaptive, [np.inf] * 4)


@case
def score_survivors(device):
    from varc.scoring.progressive import score_survivors

    vqvae, var = small_models(device)
    alive = np.random.default_rng(0).random(ALL.shape) < 0.4
    return score_survivors(var, vqvae.quantize, TOKENS[0], ALL, alive, device)


@case
def sample_and_decode(device):
    from varc.data.tensors import to_pixels
    from varc.scoring.sampling import sample_tokens

    vqvae, var = small_models(device)
    parts = []
    for options in ({}, {"guidance": 1.5, "top_k": 9}, {"temperature": 0.8, "top_p": 0.7}):
        labels, generator = torch.full((3,), 2, device=device), torch.Generator().manual_seed(0)
        tokens = sample_tokens(var, vqvae.quantize, labels, generator=generator, **options)
        with torch.inference_mode():
            parts += [tokens.cpu(), to_pixels(vqvae.decode(vqvae.quantize.dequantize(tokens)))]
    return flat(*parts)


@case
def encode_and_tokenize(device):
    from varc.scoring.smoothing import clean_tokens, encode, tokenize

    vqvae, _ = small_models(device)
    features = encode(vqvae, IMAGES, 4, device)
    options = {"sigma": 0.5, "seed": 0, "batch_size": 4, "device": device}
    noisy = tokenize(vqvae.quantize, features, IDS, sample=1, **options)
    return flat(features, noisy, clean_tokens(vqvae, IMAGES, 4, device))


@case
def public_checkpoints(device):
    from varc.models.public import load_public_var, load_public_vqvae
    from varc.scoring.smoothing import clean_tokens

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("vae.pth", "var.pth")]
        for path, model in zip(paths, small_models(torch.device("cpu")), strict=True):
            torch.save({"trainer": {"var_wo_ddp": model.state_dict()}}, path)
        vqvae = load_public_vqvae(paths[0], patch_nums=PATCH_NUMS, norm_groups=8)[0].to(device)
        var = load_public_var(paths[1], patch_nums=PATCH_NUMS)[0].to(device)
        return flat(clean_tokens(vqvae, IMAGES, 4, device), scores(var, vqvae.quantize, device))


@case
def rates(device):
    """Speeds differ from device to device: that they are measured, and positive, is all that is the same."""
    from varc.baselines.family import family, settings
    from varc.planning import Kind
    from varc.rates.models import measure
    from varc.rates.rivals import measure_stage

    vqvae, var = (model.config for model in small_models(torch.device("cpu")))
    kinds = [Kind(rule, "m", 4, "float32") for rule in ("encode", "tokenize", "score")]
    with mock.patch("varc.rates.speed.SECONDS", 0.0):
        speeds = [measure(kind, vqvae, var, CLASSES, device) for kind in kinds]
        for name in ("vit", "vae", "knn"):
            shape, _, stages = RIVALS[name]
            kind = family(name)
            speeds.append(measure_stage(kind, settings(kind.Shape, shape), 3, stages, 3, device))
    return flat([speed[0] > 0 for speed in speeds])


# Training


@case
def train_vqvae(device):
    return vqvae_trained(device)


def vqvae_trained(device: torch.device, **more: Any) -> np.ndarray:
    from varc.models.vqvae import VQVAEConfig
    from varc.training.vqvae import feature_std, train_vqvae

    config = VQVAEConfig(PATCH_NUMS, 16, (1, 2), 1, 8, CODES, 8)
    options = {"steps": 20, "batch_size": 4, "lr": 1e-3, "seed": 0, "device": device, "report": lambda line: None}
    model, curve = train_vqvae(config, IMAGES, **options, **more)  # one step without the quantiser
    errors = [row["validation_reconstruction"] for row in curve if "validation_reconstruction" in row]
    return flat(losses(curve), errors, feature_std(model, IMAGES, 4, device), model.quantize.embedding.weight.cpu())


@case
def train_vqvae_averaged(device):
    from varc.training.augment import Augment
    from varc.training.vqvae import Pictures

    return vqvae_trained(device, ema=0.9, augment=Augment(1.0, 0.1, 5.0), validation=Pictures(IMAGES[:3], 8))


@case
def train_var(device):
    return var_trained(device)


@case
def train_var_averaged(device):
    from varc.training.validation import Validation

    return var_trained(device, ema=0.9, label_dropout=0.3, validation=Validation(TOKENS[0], LABELS, ALL[0], 2))


@case
def augmented_tokens(device):
    from varc.training.augment import Augment, augmented_tokens

    vqvae, augment = small_models(device)[0], Augment(1.0, 0.1, 5.0)
    return flat(augmented_tokens(vqvae, IMAGES, IDS, augment, copies=2, seed=0, batch_size=4, device=device))


def var_trained(device: torch.device, **more: Any) -> np.ndarray:
    from varc.models.var import VARConfig
    from varc.training.var import train_var

    config = VARConfig(2, 64, 2, CLASSES, CODES, 8, PATCH_NUMS)
    quantizer = small_models(device)[0].quantize
    tokens, labels = torch.from_numpy(TOKENS.astype(np.int64)).to(device), torch.from_numpy(LABELS).to(device)
    options = {"steps": 3, "batch_size": 4, "lr": 1e-3, "seed": 0, "report": lambda line: None}
    model, curve = train_var(config, quantizer, tokens, labels, **options, **more)
    return flat(losses(curve), scores(model, quantizer, device))


CROSS_ENTROPY = {"steps": 4, "batch_size": 4, "lr": 1e-3, "accumulate": 2, "precision": "float32"}
CCA = CROSS_ENTROPY | {"beta": 0.02, "lambda": 300.0}


def finetuned(settings: dict[str, Any], device: torch.device, validated: bool = False, **options: Any) -> np.ndarray:
    """Losses and accuracies of a fine-tuning, and the scores of what comes out."""
    from varc.training.finetune import finetune
    from varc.training.validation import Validation

    vqvae, var = small_models(torch.device("cpu"))
    quantizer = vqvae.quantize.to(device)
    validation = Validation(TOKENS[0], LABELS, ALL[0], 2) if validated else None
    options = {"seed": 0, "device": device, "validation": validation, "report": lambda line: None, **options}
    model, curve = finetune(var, quantizer, TOKENS, LABELS, settings, **options)
    accuracies = [row["validation_accuracy"] for row in curve if "validation_accuracy" in row]
    return flat(losses(curve), accuracies, scores(model, quantizer, device))


CASES["finetune_cca"] = partial(finetuned, CCA)
CASES["finetune_cca_validated"] = partial(finetuned, CCA, validated=True)
CASES["finetune_cca_bf16"] = partial(finetuned, CCA | {"precision": "bf16"})
CASES["finetune_cross_entropy"] = partial(finetuned, CROSS_ENTROPY)
CASES["finetune_discriminative"] = partial(finetuned, CROSS_ENTROPY | {"beta": 0.1, "negatives": 2, "gen": 0.5})


@case
def finetune_cca_without_cache(device):
    with mock.patch("varc.training.cca.CACHE_NUMBERS", 0):
        return finetuned(CCA, device)


@case
def finetune_cca_resumed(device):
    class Killed(Exception):
        pass

    def report(line: str) -> None:
        if line.startswith("step 3/"):
            raise Killed

    from varc.training.loop import Checkpoint

    always = mock.patch.multiple("varc.keep", SECONDS=0.0, SHARE=math.inf)
    with tempfile.TemporaryDirectory() as folder, always:
        checkpoint = Checkpoint(Path(folder) / "finetune.checkpoint")
        try:
            finetuned(CCA, device, validated=True, checkpoint=checkpoint, report=report)
        except Killed:
            return finetuned(CCA, device, validated=True, checkpoint=checkpoint)
    raise AssertionError("the first training was not killed")


def learn_var(strategy: str, device: torch.device) -> np.ndarray:
    from varc.learning.var import Lessons, Training, funnel_predictions, learn_var, log_likelihoods

    vqvae, var = small_models(device)
    quantizer, found = vqvae.quantize, []
    steps = {"steps": 4, "batch_size": 2}
    training = Training(steps | {"lr": 1e-3}, CCA | steps | {"accumulate": 1}, seed=0)
    funnel = [{"scales": 2, "samples": 1, "keep": 2}, {"scales": 4, "samples": 2, "keep": 1}]
    lessons = Lessons([[0, 1], [2]], TOKENS, LABELS)
    for learned in learn_var(strategy, var, quantizer, lessons, training):
        found.append(log_likelihoods(learned, quantizer, TOKENS[0], FEW))
        found.append(funnel_predictions(learned, quantizer, list(TOKENS), [0, 1], funnel))
    return flat(*found)


def learn_convnet(strategy: str, device: torch.device) -> np.ndarray:
    from varc.baselines.convnet import convnet_predictions
    from varc.data.tensors import to_input
    from varc.learning.convnet import learn_convnet

    images, found = to_input(IMAGES).to(device), []
    for net in learn_convnet(strategy, [[0, 1], [2]], images, LABELS, lambda n: 2, 0):
        with torch.no_grad():
            found += [convnet_predictions(net, images, [0, 1]), net(images).cpu()]
    return flat(*found)


for learning, strategies in (
    (learn_var, ("var_sequential", "var_embeddings", "var_adapters", "var_joint")),
    (learn_convnet, ("none", "cwr", "joint")),
):
    CASES |= {f"{learning.__name__} {strategy}": partial(learning, strategy) for strategy in strategies}


# Explanations


@case
def networks_explained(device):
    from varc.baselines.convnet import ConvNetConfig, cam_layer, convnet, train_convnet
    from varc.costs.counting import count
    from varc.data.tensors import to_input
    from varc.explain.attribution import gradient_shap
    from varc.explain.gradients import grad_cam, saliency
    from varc.explain.judges import network_judge

    net, images = convnet(ConvNetConfig(SIDE, 3), 0).to(device), to_input(IMAGES).to(device)
    train_convnet(net, list(net.parameters()), images, LABELS, [0, 1, 2], 2, 1e-3, 0)
    maps = gradient_shap(net, IMAGES[0], 1, 4, 5, 0), saliency(net, IMAGES[0], 1, 4)
    cam, judge = grad_cam(net, cam_layer(net), IMAGES[0], 1, 4), network_judge(net, FEW[0], device)
    return flat(*maps, cam, judge(IMAGES), count(net, images[:1]).gflops)


@case
def images_explained(device):
    from PIL import Image

    from varc.explain.one import explain_image

    found = explain_image(Image.fromarray(IMAGES[0]), *small_models(device), device=device.type)
    return flat([found.target, found.against], found.per_token, found.contrast)


@case
def masked_images_judged(device):
    from varc.explain.attribution import attribute
    from varc.explain.judges import varc_judge

    judge = varc_judge(*small_models(device), np.array([1, -1]), device)
    methods = ("lime", "kernel_shap", "occlusion")
    return flat(*(attribute(m, IMAGES[0], lambda x: -np.diff(judge(x), axis=1)[:, 0], 4, 20, "a", 0) for m in methods))


@case
def maps_judged(device):
    from varc.explain.faithfulness import faithfulness
    from varc.explain.judges import varc_judge

    judge = varc_judge(*small_models(device), ALL[0], device)
    maps = np.tile(np.arange(16, dtype=np.float32).reshape(4, 4), (2, 1, 1))
    settings = {"curve": "insertion", "ground": "blur", "steps": 3, "mode": "nearest", "seed": 0}
    return faithfulness(IMAGES[:2], maps, IDS, judge, **settings)


@case
def randomised_model(device):
    from varc.explain.tmi import randomised

    vqvae, var = small_models(device)
    return scores(randomised(var, 0), vqvae.quantize, device)


# Rival families

DIT = {"image_size": SIDE, "patch_size": 4, "width": 16, "depth": 2, "heads": 2, "channels": 1}
STEPS = {"steps": 2, "batch_size": 4, "lr": 1e-2}
RIVALS: dict[str, tuple[dict, dict, list[dict]]] = {  # shape, training, stages
    "diffusion": (DIT, STEPS, [{"draws": 2}, {"draws": 5}, {"draws": 2, "loss": "l1"}]),
    "meanflow": (DIT, STEPS, [{"draws": 2}, {"draws": 3, "interval": "average"}]),
    "randar": (
        {"image_size": SIDE, "depth": 2, "width": 16, "heads": 2, "vocab_size": 16, "ch": 32, "z_channels": 4}
        | {"ch_mult": [1, 1, 1]},
        STEPS | {"vq_steps": 2, "vq_batch_size": 4, "vq_lr": 1e-3},
        [{"tokens": 3}, {"orders": 2}, {"orders": 3, "combine": "softmax"}],
    ),
    "ibinn": ({"image_size": 8, "blocks": [1, 1], "width": 4, "dense": 8}, STEPS | {"beta": 1.0, "sigma": 0.01}, [{}]),
    "vae": ({"image_size": SIDE, "hidden": 8, "latent": 2, "sigma": 0.4}, STEPS, [{"samples": 2}, {"samples": 3}]),
    "knn": ({"image_size": SIDE, "memory": 5}, {}, [{"k": 3}]),
    "nearest_mean": ({"image_size": SIDE}, {}, [{}]),
    "logistic_regression": ({"image_size": SIDE}, {"images": 6, "steps": 5}, [{}]),
    "vit": ({"image_size": SIDE, "patch_size": 4, "width": 16, "depth": 1, "heads": 2}, STEPS, [{}]),
    "resnet": ({"image_size": SIDE, "widths": [8, 16], "depths": [1, 1]}, STEPS, [{}]),
}


def scored(kind: Any, model: Any, stages: list[dict[str, Any]]) -> list[np.ndarray]:
    """The scores of a rival's stages, each after the one before it."""
    from varc.baselines.family import Earlier, Images, settings

    found, earlier, images = [], None, Images(IMAGES, np.array(IDS, object), 0)
    for stage in stages:
        scoring = settings(kind.Scoring, stage)
        found.append(kind.score(model, images, FEW, scoring, earlier))
        earlier = Earlier(scoring, found[-1])
    return found


def rival(name: str, device: torch.device) -> np.ndarray:
    """A family trained, scored, judging, and explained by GradCAM where it can be."""
    from varc.baselines.family import family, seeded, settings
    from varc.explain.gradients import grad_cam
    from varc.explain.judges import baseline_judge

    kind, (shape, training, stages) = family(name), RIVALS[name]
    model = seeded(kind.build, settings(kind.Shape, shape), 3, 0).to(device)
    kind.train(model, IMAGES, LABELS, settings(kind.Training, training), 0, lambda line: None)
    model = model.eval()
    found = scored(kind, model, stages)
    found.append(baseline_judge(kind, model, settings(kind.Scoring, stages[-1]), FEW[0], 0)(IMAGES[:2]))
    if hasattr(kind, "cam_layer"):
        found.append(grad_cam(model, kind.cam_layer(model), IMAGES[0], 1, 2))
    return flat(*found)


def learn_family(name: str, strategy: str, device: torch.device) -> np.ndarray:
    from varc.baselines.family import Images, family, settings
    from varc.learning.families import learn_family, staged_predictions

    kind, (shape, training, stages) = family(name), RIVALS[name]
    shape, training = settings(kind.Shape, shape), settings(kind.Training, training)
    scorings, images = [settings(kind.Scoring, stage) for stage in stages], Images(IMAGES, np.array(IDS, object), 0)
    found = []
    for model in learn_family(strategy, kind, [[0, 1], [2]], shape, training, IMAGES, LABELS, 0, device):
        found.append(staged_predictions(kind, model, images, [0, 1], scorings, [2, 1][-len(scorings) :]))
        found += scored(kind, model, stages[:1])
    return flat(*found)


CASES |= {f"rival {name}": partial(rival, name) for name in RIVALS}
CASES |= {
    f"learn_family {name} {strategy}": partial(learn_family, name, strategy)
    for name in ("vae", "vit")  # whose classes are trained apart, and together
    for strategy in ("family_sequential", "family_joint")
}


def public_network(name: str, shape: dict[str, Any], device: torch.device) -> np.ndarray:
    """A network from a folder as its publishers write one."""
    from varc.baselines.family import family, seeded, settings

    kind = family(name)
    shape = settings(kind.Shape, shape)
    with tempfile.TemporaryDirectory() as folder:
        seeded(kind.build, shape, 3, 0).net.save_pretrained(folder)
        model = kind.load_public(folder, shape, 3).to(device)
    return flat(*scored(kind, model, [{}]))


CASES["public vit"] = partial(public_network, "vit", RIVALS["vit"][0])
CASES["public resnet"] = partial(
    public_network,
    "resnet",
    {"image_size": SIDE, "widths": [16, 32], "depths": [1, 1], "bottleneck": True, "large_stem": True},
)


@case
def public_diffusion(device):
    from diffusers import AutoencoderKL

    from varc.baselines import diffusion

    shape = diffusion.Shape(image_size=SIDE, patch_size=1, width=16, depth=2, heads=2, latent=True)
    torch.manual_seed(0)
    transformer = diffusion.transformer(shape, 2, 3)
    for parameter in transformer.parameters():
        parameter.data = torch.randn(parameter.shape) * 0.2
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    autoencoder = AutoencoderKL(block_out_channels=(8,) * 4, latent_channels=4, norm_num_groups=4, **blocks)
    with tempfile.TemporaryDirectory() as folder:
        transformer.save_pretrained(f"{folder}/transformer")
        autoencoder.save_pretrained(f"{folder}/vae")
        model = diffusion.load_public(folder, shape, 3).to(device)
    return flat(diffusion.encode(model, IMAGES).cpu(), *scored(diffusion, model, [{"draws": 2}]))
