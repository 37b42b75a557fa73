import pytest
import torch

from varc.costs.closed_form import Shape, encoder_gflops, pass_gflops, var_parameters
from varc.costs.models import encoder_cost, pass_cost
from varc.models.architectures import ARCHITECTURES
from varc.models.scales import tokens_at
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAEConfig

PUBLIC = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
PUBLIC_512 = (1, 2, 3, 4, 6, 9, 13, 18, 24, 32)
DIGITS = VQVAEConfig((1, 2, 3, 4), ch=16, ch_mult=(1, 2), num_res_blocks=1, z_channels=8, vocab_size=64, norm_groups=8)


def var_config(depth, patch_nums=PUBLIC, **changes):
    width = 64 * depth
    return VARConfig(depth, width, depth, 1000, 4096, 32, patch_nums, **changes)


def attention_formula(config, scales):
    """q k^T and the weighted sum of v, dense, in GFLOPs."""
    L = tokens_at(config.patch_nums, scales)
    return config.depth * 2 * L * L * config.width / 1e9


@pytest.mark.parametrize(
    ("config", "scales"),
    [
        (var_config(16), 10),
        (var_config(16), 6),
        (var_config(30), 10),
        (var_config(36, PUBLIC_512, shared_adaln=True), 10),
        (VARConfig(2, 64, 4, 10, 64, 8, (1, 2, 3, 4)), 4),
        (VARConfig(2, 64, 4, 10, 64, 8, (1, 2, 3, 4)), 1),
        (VARConfig(3, 48, 2, 10, 128, 4, (2, 3)), 2),
    ],
)
def test_a_pass_is_the_closed_formula(config, scales):
    found = pass_cost(config, scales)
    assert found == pytest.approx((pass_gflops(config, scales), attention_formula(config, scales)), rel=1e-12)


def test_published_figures_of_d16():
    # A-VARC+ paper, and the public code counted by fvcore
    found = {scales: pass_cost(var_config(16), scales) for scales in (10, 6, 5)}
    assert found[10].gflops == pytest.approx(139.97113344, abs=1e-8)
    assert found[6].gflops == pytest.approx(18.820411392, abs=1e-8)
    assert found[5].gflops == pytest.approx(11.41561344, abs=1e-8)
    assert found[10].attention_gflops == pytest.approx(15.15, abs=0.005)


def test_published_figure_of_the_encoder():
    assert encoder_cost(VQVAEConfig()) == pytest.approx((107.313627136 + 0.25165824 + 0.301056, 0.0), abs=1e-8)


@pytest.mark.parametrize("config", [DIGITS, VQVAEConfig((1, 3), 8, (1, 2, 2), 2, 4, 16, 4)])
def test_the_encoder_is_the_closed_formula(config):
    assert encoder_cost(config).gflops == pytest.approx(encoder_gflops(config), rel=1e-12)


def test_the_closed_formulas_take_the_shapes_of_a_config():
    assert encoder_gflops(Shape.of(ARCHITECTURES["var_d16"])) == pytest.approx(107.866341376, abs=1e-8)
    assert pass_gflops(Shape.of(ARCHITECTURES["var_d16"]), 10) == pytest.approx(139.97113344, abs=1e-8)
    d36 = var_config(36, PUBLIC_512, shared_adaln=True)
    assert pass_gflops(Shape.of(ARCHITECTURES["var_d36"]), 7) == pass_gflops(d36, 7)


@pytest.mark.parametrize("config", [var_config(16), var_config(36, PUBLIC_512, shared_adaln=True)])
def test_parameters_are_those_of_the_module_but_for_biases(config):
    with torch.device("meta"):
        count = sum(p.numel() for p in VAR(config).parameters())
    assert var_parameters(config, config.num_classes) == pytest.approx(count, rel=1e-3)
