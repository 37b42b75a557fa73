import pytest
import torch
from safetensors.torch import load_file, save_file

from varc.baselines import vit
from varc.baselines.family import seeded

B16 = vit.Shape(224, 16, 768, 12, 12)
TINY = vit.Shape(8, 4, 16, 2, 2)


def test_vit_b16_costs_what_the_paper_says():
    found = vit.cost(B16, 1000, vit.Scoring(), 100, None)
    patches, width, depth = 14 * 14, 768, 12
    tokens = patches + 1
    linear = patches * 3 * 16**2 * width + depth * 12 * tokens * width**2 + width * 1000
    norms = (2 * depth + 1) * 5 * tokens * width  # fvcore: 5 a number with affine weights
    assert found.gflops == pytest.approx((linear + norms) / 1e9, rel=1e-9)
    assert found.attention_gflops == pytest.approx(depth * 2 * tokens**2 * width / 1e9, rel=1e-9)
    assert round(found.gflops, 1) == 16.9  # table 1
    assert found.passes == 1


def test_vit_b16_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = vit.build(B16, 1000)
    assert sum(p.numel() for p in model.parameters()) == 86_567_656  # google/vit-base-patch16-224


def test_the_class_list_costs_no_passes():
    few, many = (vit.cost(TINY, 5, vit.Scoring(), candidates, None) for candidates in (1, 5))
    assert few == many


def old_name(key):
    """A key as the published files have it; the library has renamed them since."""
    for new, old in (
        ("vit.layers.", "vit.encoder.layer."),
        *((f"attention.{x}_proj", f"attention.attention.{name}") for x, name in zip("qkv", NAMES, strict=True)),
        ("attention.o_proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
    ):
        key = key.replace(new, old)
    return key


NAMES = ("query", "key", "value")


def test_the_published_files_names_are_understood(tmp_path):
    model = seeded(vit.build, TINY, 5, 0).eval()
    model.net.save_pretrained(tmp_path)
    renamed = {old_name(key): t for key, t in model.net.state_dict().items()}
    assert "vit.encoder.layer.1.attention.attention.query.weight" in renamed
    assert "vit.encoder.layer.0.output.dense.bias" in renamed
    save_file({key: t.clone() for key, t in renamed.items()}, tmp_path / "model.safetensors", {"format": "pt"})
    assert set(load_file(tmp_path / "model.safetensors")) == set(renamed)
    found = vit.load_public(tmp_path, TINY, 5)
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(found(images), model(images))


def test_the_attention_is_a_plain_softmax(monkeypatch):
    model = seeded(vit.build, TINY, 5, 0).eval()
    images = torch.rand(2, 3, 8, 8) * 2 - 1
    with torch.no_grad():
        expected = model(images)
        model.net.config._attn_implementation = "eager"
        assert torch.allclose(model(images), expected, atol=1e-6)
