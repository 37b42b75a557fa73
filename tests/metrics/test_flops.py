import pytest

from varc.metrics.flops import encoder_cost, pass_cost
from varc.models.var import VARConfig, pass_gflops, tokens_at
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


def encoder_formula(config):
    """Convolutions, GroupNorm at 5 per number, and attention's two products, layer by layer."""
    total, side, channels = 0, config.image_size, config.ch
    total += side**2 * 9 * 3 * channels

    def block(a, b):
        return side**2 * (5 * a + 9 * a * b + 5 * b + 9 * b * b + (a * b if a != b else 0))

    def attention(c):
        return side**2 * (5 * c + 3 * c * c + c * c) + 2 * side**4 * c

    for i, mult in enumerate(config.ch_mult):
        last = i == len(config.ch_mult) - 1
        for _ in range(config.num_res_blocks):
            total += block(channels, config.ch * mult) + (attention(config.ch * mult) if last else 0)
            channels = config.ch * mult
        if not last:
            side //= 2
            total += side**2 * 9 * channels**2
    total += 2 * block(channels, channels) + attention(channels)
    total += side**2 * (5 * channels + 9 * channels * config.z_channels + 9 * config.z_channels**2)
    return total / 1e9


def test_the_encoder_is_the_closed_formula():
    assert encoder_cost(DIGITS).gflops == pytest.approx(encoder_formula(DIGITS), rel=1e-12)
    assert encoder_formula(VQVAEConfig()) == pytest.approx(107.866341376, abs=1e-8)
