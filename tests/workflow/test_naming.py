import re

import pytest

from workflow.naming import (
    ADAPTIVE,
    CANDIDATES,
    NOISE,
    Stage,
    architecture,
    finetuning,
    image_size,
    origin,
    patch_nums,
    read_candidates,
    read_noise,
    sample_folders,
    spell_adaptive,
    spell_candidates,
    spell_noise,
    spell_sigma,
    spell_vqvae,
    stages,
    vqvae_owner,
)

FUNNEL = [
    {"scales": 6, "samples": 1, "keep": 10, "precision": "bf16"},
    {"scales": 10, "samples": 1, "keep": 3, "precision": "float32"},
    {"scales": 10, "samples": 3, "keep": 1, "precision": "float32"},
]


@pytest.mark.parametrize(
    ("sigma", "spelled"),
    [(0.1, "0.1"), (0.10, "0.1"), (1, "1"), (1e-3, "0.001"), ({"spread": 0.2}, "0.2spread"), (None, "")],
)
def test_sigma(sigma, spelled):
    assert spell_sigma(sigma) == spelled
    if sigma:
        noise = spell_noise(spelled, 12)
        assert re.fullmatch(NOISE, noise)
        assert read_noise(noise) == (sigma, 12)
    assert spell_noise(spelled, 0) == "clean"
    assert read_noise("clean") == (0.0, 0)


@pytest.mark.parametrize("sigma", [0.1, {"spread": 0.05}])
def test_candidates_are_spelled_by_what_chose_them(sigma):
    found = stages({"funnel": FUNNEL, "sigma": sigma})
    assert spell_candidates([]) == "all"
    assert spell_candidates(found[:2]) == "6x1-bf16-keep10.10x1-keep3"
    whole = spell_candidates(found)
    assert whole.endswith(f".10x3s{spell_sigma(sigma)}-keep1")
    assert re.fullmatch(CANDIDATES, whole)
    assert read_candidates(whole) == found
    assert read_candidates("all") == []


def test_a_smoothed_stage_reads_clean_scores_of_its_own_precision():
    first, second, third = stages({"funnel": FUNNEL, "sigma": 0.1})
    assert sample_folders([], first) == ["all/scales6-bf16/clean"]
    assert sample_folders([first, second], third) == [
        "6x1-bf16-keep10/scales10/clean",
        "6x1-bf16-keep10.10x1-keep3/scales10/sigma0.1-1",
        "6x1-bf16-keep10.10x1-keep3/scales10/sigma0.1-2",
    ]
    half = Stage(10, 2, 1, "0.1", "bf16")
    assert sample_folders([first, second], half)[0] == "6x1-bf16-keep10.10x1-keep3/scales10-bf16/clean"


def test_adaptive():
    plain = {"funnel": [{"adaptive": {"alpha": 0.01, "samples": 1}}]}
    smoothed = {"funnel": [{"adaptive": {"alpha": 0.05, "samples": 3}}], "sigma": {"spread": 0.2}}
    assert spell_adaptive(plain) == "adaptive0.01"
    assert spell_adaptive(smoothed) == "adaptive0.05x3s0.2spread"
    assert re.fullmatch(ADAPTIVE, spell_adaptive(smoothed))


def test_a_vqvae_is_named_by_its_file_and_content():
    assert spell_vqvae("a b/vae.v2.pth", "0123456789abcdef") == "vae_v2-01234567"
    assert spell_vqvae("vae.pth", None) == "vae-absent"


MODELS = {
    "base": {
        "train": {
            "data": "train",
            "vqvae": {
                **dict.fromkeys(("ch", "num_res_blocks", "z_channels", "vocab_size", "norm_groups", "steps"), 1),
                "patch_nums": [1, 4],
                "ch_mult": [1, 2],
            },
            "var": {"depth": 2, "width": 8, "heads": 1, "samples": 3, "sigma": 0.5, "steps": 9},
        }
    },
    "cca": {"finetune": "base", "cca": {"lambda": 1}},
    "more": {"finetune": "cca", "cross_entropy": {"data": "other"}},
    "clean": {"train": {"data": "train", "vqvae": "base", "var": {"depth": 5, "width": 8, "heads": 1}}},
    "d16": {"vqvae": "v.pth", "var": "d16.pth", "architecture": "var_d16"},
    "d16_cca": {"finetune": "d16", "cca": {"data": "train"}},
}


def test_what_a_model_comes_from():
    assert [origin(MODELS, name) for name in MODELS] == ["base", "base", "base", "clean", "d16", "d16"]
    assert [vqvae_owner(MODELS, name) for name in MODELS] == ["base", "base", "base", "base", "d16", "d16"]
    assert architecture(MODELS, "more") == architecture(MODELS, "base")
    assert architecture(MODELS, "clean")["var"]["depth"] == 5
    assert architecture(MODELS, "clean")["vqvae"] == architecture(MODELS, "base")["vqvae"]
    assert patch_nums(MODELS, "clean") == [1, 4] and image_size(MODELS, "more") == 8
    assert image_size(MODELS, "d16_cca") == 256


def test_fine_tuning_takes_its_data_from_the_models_training():
    assert finetuning(MODELS, "cca") == {"lambda": 1, "data": "train", "samples": 3, "sigma": 0.5}
    assert finetuning(MODELS, "more") == {"data": "other", "samples": 1}
    assert finetuning(MODELS, "d16_cca") == {"data": "train", "samples": 1}
