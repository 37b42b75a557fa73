"""Names of result files: how a funnel is spelled in a path, and read back from it.

A classifier's stages are spelled by what chose their candidates, so classifiers that agree on their first stages share
files, and a changed stage has other paths than before.
"""

import re
from decimal import Decimal
from pathlib import PurePath
from typing import NamedTuple

from varc.models.architectures import ARCHITECTURES, PATCH_NUMS_256

SIGMA = r"[\d.]+(?:spread)?"
KEPT = rf"\d+x\d+(?:s{SIGMA})?(?:-bf16)?-keep\d+"
CANDIDATES = rf"all|{KEPT}(?:\.{KEPT})*"
NOISE = rf"clean|sigma{SIGMA}-\d+"
METHOD = rf"[a-z_]+(?:x\d+s{SIGMA})?"
ROLE = r"label|prediction|unconditional|\d+|runner_up-of-(?:label|prediction|\d+)"
ADAPTIVE = rf"adaptive[\d.]+(?:x\d+s{SIGMA})?"
STAGE = re.compile(rf"(\d+)x(\d+)(?:s({SIGMA}))?(-bf16)?-keep(\d+)")
SHAPE_KEYS = {  # of a model that is trained here
    "vqvae": ("patch_nums", "ch", "ch_mult", "num_res_blocks", "z_channels", "vocab_size", "norm_groups"),
    "var": ("depth", "width", "heads"),
}


PUBLIC_NORM_GROUPS, PUBLIC_IMAGE_SIZE = 32, 256


class Stage(NamedTuple):
    """A funnel stage: sigma is spelled as in paths, and empty where only the clean sample is scored."""

    scales: int
    samples: int
    keep: int
    sigma: str
    precision: str
    guidance: float = 0


def spell_sigma(sigma):
    """0.1 as "0.1"; {"spread": 0.1} as "0.1spread"; None as ""."""
    if sigma is None:
        return ""
    if isinstance(sigma, dict):
        return spell_sigma(sigma["spread"]) + "spread"
    return spell_number(sigma)


def spell_number(number):
    """0.10 as "0.1", 1e-3 as "0.001"."""
    return format(Decimal(str(number)).normalize(), "f")


def stages(classifier):
    """The stages of a classifier's entry in the config."""
    sigma = spell_sigma(classifier.get("sigma"))
    return [
        Stage(
            stage["scales"],
            stage["samples"],
            stage["keep"],
            sigma if stage["samples"] > 1 else "",
            stage["precision"],
            stage.get("guidance", 0),
        )
        for stage in classifier["funnel"]
    ]


def adaptive_stage(classifier):
    """The settings of a classifier's adaptive stage; None for a funnel of fixed stages."""
    return classifier["funnel"][0].get("adaptive")


def spell_adaptive(classifier):
    """Where an adaptive funnel's files lie: "adaptive0.01", with samples and sigma where it smooths."""
    stage = adaptive_stage(classifier)
    smoothing = f"x{stage['samples']}s{spell_sigma(classifier['sigma'])}" if stage["samples"] > 1 else ""
    return f"adaptive{spell_number(stage['alpha'])}{smoothing}"


def spell_scales(stage):
    """The folder of a stage's scores: e.g. "scales6"; "scales6-bf16" in another precision, "scales6-cfg1" if guided."""
    guided = f"-cfg{spell_number(stage.guidance)}" if stage.guidance else ""
    return f"scales{stage.scales}{spell_precision(stage)}{guided}"


def spell_precision(stage):
    """What a precision adds to a name: "-bf16", nothing for float32."""
    return "" if stage.precision == "float32" else f"-{stage.precision}"


def spell_candidates(earlier):
    """The <candidates> of the stage after the stages `earlier`: "all", or e.g. "6x1-keep10.10x1-keep3"."""
    return ".".join(spell_kept(stage) for stage in earlier) or "all"


def spell_kept(stage):
    """A stage and how many candidates it keeps, e.g. "10x3s0.1-keep3", or "6x1-bf16-keep10"."""
    sigma = f"s{stage.sigma}" if stage.sigma else ""
    return f"{stage.scales}x{stage.samples}{sigma}{spell_precision(stage)}-keep{stage.keep}"


def read_candidates(spelled):
    """The stages that a <candidates> spells; the inverse of spell_candidates."""
    return [
        Stage(int(scales), int(samples), int(keep), sigma, precision.removeprefix("-") or "float32")
        for scales, samples, sigma, precision, keep in STAGE.findall(spelled)
    ]


def spell_noise(sigma, sample):
    """The <noise> of a sample: "clean" for sample 0, else e.g. "sigma0.1-2"."""
    return f"sigma{sigma}-{sample}" if sample else "clean"


def read_noise(spelled):
    """(sigma, sample) of a <noise>; sigma is a number, or {"spread": number}."""
    if spelled == "clean":
        return 0.0, 0
    sigma, sample = spelled.removeprefix("sigma").rsplit("-", 1)
    if sigma.endswith("spread"):
        return {"spread": float(sigma.removesuffix("spread"))}, int(sample)
    return float(sigma), int(sample)


def spell_method(method, entry):
    """The <method> of an entry of `explain`: its name, with samples and sigma for TMI that is averaged over some."""
    samples = entry["samples"]
    averaged = method.startswith("tmi") and samples > 1
    return f"{method}x{samples}s{spell_sigma(entry['sigma'])}" if averaged else method


def explained_roles(entry):
    """The roles of the two classes that an entry of `explain` tells apart, e.g. "label" and "runner_up-of-label"."""
    target, against = str(entry["target"]), str(entry["against"])
    return [target, f"runner_up-of-{target}" if against == "runner_up" else against]


def explanations(config):
    """The maps of a config: (dataset, model, spelled method, target, against) -> (method, entry), in order."""
    return {
        (dataset, model, spell_method(method, entry), str(entry["target"]), str(entry["against"])): (method, entry)
        for entry in config.get("explain", [])
        for dataset in entry["datasets"]
        for model in entry["models"]
        for method in entry["methods"]
    }


def learning_runs(config):
    """What is learned class by class: (entry of `incremental`, number of tasks, strategy), in order."""
    for entry in config.get("incremental", []):
        for tasks in entry["tasks"]:
            yield from ((entry, tasks, strategy) for strategy in entry["strategies"])


def sample_folders(earlier, stage):
    """Where a stage's scores lie, one folder per sample, below scores/<model>/<dataset>/.

    A smoothed stage's clean sample is never scored again: it is read from the first stage that had as many scales.
    """
    own = spell_candidates(earlier)
    clean = own
    if stage.samples > 1:
        same = [i for i, before in enumerate(earlier) if spell_scales(before) == spell_scales(stage)]
        clean = spell_candidates(earlier[: same[0]]) if same else own
    return [
        f"{own if sample else clean}/{spell_scales(stage)}/{spell_noise(stage.sigma, sample)}"
        for sample in range(stage.samples)
    ]


def origin(models, name):
    """The model, trained here or public, that a fine-tuned one starts from in the end; itself for the others."""
    while "finetune" in models[name]:
        name = models[name]["finetune"]
    return name


def vqvae_owner(models, name):
    """The model whose VQ-VAE a model has: that of its origin, or of the one that `train: vqvae` names."""
    name = origin(models, name)
    vqvae = models[name].get("train", {}).get("vqvae")
    return vqvae if isinstance(vqvae, str) else name


def finetuning(models, name):
    """The settings of a fine-tuned model; its data, samples and sigma are those of its origin's training by default."""
    model, start = models[name], models[origin(models, name)]
    settings = dict(model["cca"] if "cca" in model else model["cross_entropy"])
    if "train" in start and "data" not in settings:
        settings["data"] = start["train"]["data"]
        trained = start["train"]["var"]
        settings = {key: trained[key] for key in ("samples", "sigma") if key in trained} | settings
    return {"samples": 1} | settings


def architecture(models, name):
    """The shape of a model, as far as the config tells it: its `train` entry's, or that of its architecture's name.

    None for a checkpoint whose `architecture` is not given: its tensors tell, once they are there.
    """
    model = models[origin(models, name)]
    if "train" not in model:
        return ARCHITECTURES.get(model.get("architecture"))
    settings = {"vqvae": models[vqvae_owner(models, name)]["train"]["vqvae"], "var": model["train"]["var"]}
    return {part: {key: settings[part][key] for key in keys} for part, keys in SHAPE_KEYS.items()}


def patch_nums(models, name):
    """The patch numbers of a model; those of the public models at 256 px, where nothing says otherwise."""
    shape = architecture(models, name)
    if shape:
        return shape["vqvae"]["patch_nums"]
    return models[origin(models, name)].get("patch_nums", list(PATCH_NUMS_256))


def image_size(models, name):
    """Pixels per side of a model's images, or None where only its tensors tell."""
    shape = architecture(models, name)
    return shape and shape["vqvae"]["patch_nums"][-1] * 2 ** (len(shape["vqvae"]["ch_mult"]) - 1)


def spell_vqvae(path, sha256):
    """The <vqvae> of a public checkpoint: the file's stem and 8 digits of its SHA-256.

    So models with the same VQ-VAE share its tokens, and a changed file starts new ones.
    """
    return re.sub(r"[^\w-]", "_", PurePath(path).stem) + "-" + (sha256 or "absent")[:8]
