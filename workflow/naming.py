"""Names of result files: how a funnel is spelled in a path, and read back from it.

A classifier's stages are spelled by what chose their candidates, so classifiers that agree on their first stages share
files, and a changed stage has other paths than before.
"""

import re
from decimal import Decimal
from typing import NamedTuple

CANDIDATES = r"all|\d+x\d+(s[\d.]+(spread)?)?-keep\d+(\.\d+x\d+(s[\d.]+(spread)?)?-keep\d+)*"
NOISE = r"clean|sigma[\d.]+(spread)?-\d+"
STAGE = re.compile(r"(\d+)x(\d+)(?:s([\d.]+(?:spread)?))?-keep(\d+)")


SHAPE_KEYS = {
    "vqvae": ("patch_nums", "ch", "ch_mult", "num_res_blocks", "z_channels", "vocab_size", "norm_groups"),
    "var": ("depth", "width", "heads"),
}


class Stage(NamedTuple):
    """A funnel stage: sigma is spelled as in paths, and empty where only the clean sample is scored."""

    scales: int
    samples: int
    keep: int
    sigma: str


def spell_sigma(sigma):
    """0.1 as "0.1"; {"spread": 0.1} as "0.1spread"; None as ""."""
    if sigma is None:
        return ""
    if isinstance(sigma, dict):
        return spell_sigma(sigma["spread"]) + "spread"
    return format(Decimal(str(sigma)).normalize(), "f")


def stages(classifier):
    """The stages of a classifier's entry in the config."""
    sigma = spell_sigma(classifier.get("sigma"))
    return [
        Stage(stage["scales"], stage["samples"], stage["keep"], sigma if stage["samples"] > 1 else "")
        for stage in classifier["funnel"]
    ]


def spell_candidates(earlier):
    """The <candidates> of the stage after the stages `earlier`: "all", or e.g. "6x1-keep10.10x1-keep3"."""
    spelled = (f"{s.scales}x{s.samples}{'s' + s.sigma if s.sigma else ''}-keep{s.keep}" for s in earlier)
    return ".".join(spelled) or "all"


def read_candidates(spelled):
    """The stages that a <candidates> spells; the inverse of spell_candidates."""
    return [
        Stage(int(scales), int(samples), int(keep), sigma) for scales, samples, sigma, keep in STAGE.findall(spelled)
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


def sample_folders(earlier, stage):
    """Where a stage's scores lie, one folder per sample, below scores/<model>/<dataset>/.

    A smoothed stage's clean sample is never scored again: it is read from the first stage that had as many scales.
    """
    own = spell_candidates(earlier)
    clean = own
    if stage.samples > 1:
        same = [i for i, before in enumerate(earlier) if before.scales == stage.scales]
        clean = spell_candidates(earlier[: same[0]]) if same else own
    return [
        f"{own if sample else clean}/scales{stage.scales}/{spell_noise(stage.sigma, sample)}"
        for sample in range(stage.samples)
    ]


def shape_settings(train):
    """The part of a model's `train` entry that gives its shape."""
    return {part: {key: train[part][key] for key in keys} for part, keys in SHAPE_KEYS.items()}
