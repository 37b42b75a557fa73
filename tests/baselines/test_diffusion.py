import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import nn

from varc.baselines.diffusion import (
    STEPS,
    Diffusion,
    Scoring,
    Shape,
    build,
    cost,
    encode,
    load_public,
    noised,
    score,
    signal_shares,
    train,
    transformer,
)
from varc.baselines.diffusion import Training as Steps
from varc.baselines.dit import draw_noise, fraction, mean_errors
from varc.baselines.family import Earlier, Images, seeded
from varc.costs.counting import count
from varc.errors import InputError

SHAPE = Shape(image_size=8, patch_size=2, width=16, depth=2, heads=2, channels=1)
DIT_XL_2 = Shape(image_size=256, patch_size=2, width=1152, depth=28, heads=16, latent=True)
CLASSES = np.arange(4, dtype=np.int32)


def random_model():
    """A model whose output depends on everything: adaLN-Zero would give 0."""
    model = seeded(build, SHAPE, 4, 0).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    return model


def images(count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8).repeat(3, 3)
    return Images(pixels, np.array([f"image:{i}" for i in range(count)], dtype=object), 0)


def some(found, which):
    return Images(found.pixels[which], found.image_ids[which], found.seed)


def test_times_of_the_first_draws_are_evenly_spread():
    assert [fraction(j) for j in range(7)] == [1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8]
    for n in (1, 3, 7, 15, 255):
        assert np.allclose(np.sort([fraction(j) for j in range(n)]), np.arange(1, n + 1) / (n + 1))
    for n in range(1, 300):
        gaps = np.diff(np.sort([0, *(fraction(j) for j in range(n)), 1]))
        assert gaps.max() <= 2 * gaps.min()


def test_the_schedule_is_ddpms():
    betas = np.linspace(1e-4, 0.02, 1000)  # Ho et al. 2020
    assert np.allclose(signal_shares().numpy(), np.cumprod(1 - betas), atol=1e-6)
    x, noise = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0)
    found = noised(x, torch.tensor([500]), noise)
    share = np.cumprod(1 - betas)[500]
    assert np.allclose(found.numpy(), np.sqrt(share) + 3 * np.sqrt(1 - share), atol=1e-5)


def test_scores_by_a_plain_loop_over_classes_and_draws():
    model, given = random_model(), images(2)
    found = score(model, given, np.tile(CLASSES, (2, 1)), Scoring(draws=3), None)
    for i in range(2):
        x = torch.from_numpy(given.pixels[i, :, :, 0]).float()[None, None] / 127.5 - 1
        for c in CLASSES:
            total = 0.0
            for j in range(3):
                t = torch.tensor([int(fraction(j) * STEPS)])
                noise = draw_noise(f"image:{i}", j, 0, (1, 8, 8))[None]
                with torch.inference_mode():
                    total += (model(noised(x, t, noise), t, torch.tensor([int(c)])) - noise).square().mean().item()
            assert found[i, c] == pytest.approx(-total / 3, rel=1e-4)


def test_a_model_that_knows_the_noise_of_one_class():
    class Knows(Diffusion):
        def forward(self, noisy, times, labels):
            a = signal_shares()[times].view(-1, 1, 1, 1)
            noise = (noisy - a.sqrt() * self.x) / (1 - a).sqrt()
            return noise + (labels != 2).float().view(-1, 1, 1, 1) * 0.5

    model, given = Knows(transformer(SHAPE, 1, 4), None), images(1)
    model.x = encode(model, given.pixels)
    found = score(model, given, CLASSES[None], Scoring(draws=4), None)
    assert np.allclose(found[0], [-0.25, -0.25, 0, -0.25], atol=1e-4)
    by_l1 = score(model, given, CLASSES[None], Scoring(draws=4, loss="l1"), None)
    assert np.allclose(by_l1[0], [-0.5, -0.5, 0, -0.5], atol=1e-2)


def test_two_stages_are_one_stage_of_all_draws():
    model, given = random_model(), images(2)
    first = score(model, given, np.tile(CLASSES, (2, 1)), Scoring(draws=2), None)
    kept = np.array([[0, 3], [1, 2]], np.int32)
    earlier = Earlier(Scoring(draws=2), np.take_along_axis(first, kept, 1))
    both = score(model, given, kept, Scoring(draws=5), earlier)
    whole = score(model, given, np.tile(CLASSES, (2, 1)), Scoring(draws=5), None)
    assert np.allclose(both, np.take_along_axis(whole, kept, 1), atol=1e-6)


def test_a_stage_of_another_loss_begins_anew():
    model, given, candidates = random_model(), images(1), CLASSES[None]
    first = score(model, given, candidates, Scoring(draws=2, loss="l1"), None)
    both = score(model, given, candidates, Scoring(draws=2), Earlier(Scoring(draws=2, loss="l1"), first))
    assert np.allclose(both, score(model, given, candidates, Scoring(draws=2), None), atol=1e-6)
    assert cost(SHAPE, 4, Scoring(draws=2), 4, Scoring(draws=2, loss="l1")).passes == 8


def test_a_stage_must_add_draws():
    for now, before in ((0, None), (2, Scoring(draws=2)), (3, Scoring(draws=5))):
        with pytest.raises(InputError, match=f"draws: {now}; a stage needs more than"):
            cost(SHAPE, 4, Scoring(draws=now), 4, before)


def test_scores_depend_on_neither_batch_nor_order(monkeypatch):
    model, given, candidates = random_model(), images(3), np.tile(CLASSES, (3, 1))
    whole = score(model, given, candidates, Scoring(draws=3), None)
    turned = score(model, some(given, [2, 1, 0]), candidates[:, ::-1].copy(), Scoring(draws=3), None)
    assert np.allclose(turned[::-1, ::-1], whole, atol=1e-6)
    monkeypatch.setattr("varc.baselines.dit.ROWS", 5)
    assert np.allclose(score(model, given, candidates, Scoring(draws=3), None), whole, atol=1e-6)
    other = Images(given.pixels, given.image_ids, 1)
    assert not np.allclose(score(model, other, candidates, Scoring(draws=3), None), whole, atol=1e-3)


def test_costs_are_the_published_ones():
    first = cost(DIT_XL_2, 1000, Scoring(draws=25), 100, None)
    second = cost(DIT_XL_2, 1000, Scoring(draws=250), 5, Scoring(draws=25))
    assert first.passes + second.passes == 3625
    assert round(second.gflops / second.passes, 2) == 114.46
    assert round(first.gflops + second.gflops, 1) == 415056.0


def test_a_pass_of_every_depth_is_what_fvcore_counts_less_the_repeated_embeddings_of_the_time():
    shape = replace(SHAPE, depth=3)
    counted = count(
        Diffusion(transformer(shape, 3, 4), None).eval(), torch.zeros(1, 1, 8, 8), *torch.zeros(2, 1).long()
    )
    embedding = 256 * 16 + 16 * 16
    found = cost(shape, 4, Scoring(draws=1), 1, None)
    assert found.gflops * 1e9 == pytest.approx(counted.gflops * 1e9 - 3 * embedding)  # 3 blocks and the last layer
    assert found.attention_gflops * 1e9 == pytest.approx(counted.attention_gflops * 1e9) == 3 * 2 * 16 * 16 * 16


def test_training_lowers_the_error_of_the_right_class():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 400)
    pixels = np.where(labels[:, None, None, None] == 1, 255, 0) * np.ones((1, 8, 8, 3))
    model = seeded(build, SHAPE, 2, 0)
    train(model, pixels.astype(np.uint8), labels, Steps(steps=200, batch_size=32, lr=0.01), 0, lambda line: None)
    given = Images(pixels[:20].astype(np.uint8), np.array([f"i:{i}" for i in range(20)], dtype=object), 0)
    found = score(model, given, np.tile(np.arange(2, dtype=np.int32), (20, 1)), Scoring(draws=8), None)
    assert (found.argmax(1) == labels[:20]).all()


def test_mean_errors_by_hand():
    def errors(latents, times, noise, labels):
        return times * (labels + 1)

    found = mean_errors(
        errors, torch.zeros(1, 1, 2, 2), ["a"], np.array([[0, 3]], np.int32), Scoring(4), 0, None, torch.device("cpu")
    )
    mean = np.mean([fraction(j) for j in range(4)])
    assert np.allclose(found, [[-mean, -4 * mean]])


@pytest.fixture
def public_folder(tmp_path):
    """A folder as diffusers writes one, of a tiny latent model."""
    shape = Shape(image_size=64, patch_size=2, width=16, depth=2, heads=2, latent=True)
    torch.manual_seed(0)
    model = transformer(shape, 2, 4)
    for layer in (model.proj_out_2, *(block.norm1.linear for block in model.transformer_blocks)):
        nn.init.normal_(layer.weight, std=0.2)
    four = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    vae = AutoencoderKL(block_out_channels=(8,) * 4, latent_channels=4, norm_num_groups=4, **four)
    model.save_pretrained(tmp_path / "transformer")
    vae.save_pretrained(tmp_path / "vae")
    return tmp_path, shape, Diffusion(model.eval(), vae.eval())


def test_public_weights_score_as_the_model_that_was_saved(public_folder):
    path, shape, saved = public_folder
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    given = Images(pixels, np.array(["a"], dtype=object), 0)
    with torch.inference_mode():
        x = torch.from_numpy(pixels).float().permute(0, 3, 1, 2) / 127.5 - 1
        latents = saved.autoencoder.encode(x).latent_dist.mean * 0.18215
    loaded = load_public(path, shape, 4)
    assert torch.allclose(encode(loaded, pixels), latents, atol=1e-4)
    found = score(loaded, given, CLASSES[None], Scoring(draws=2), None)
    assert np.allclose(found, score(saved, given, CLASSES[None], Scoring(draws=2), None), atol=1e-6)
    assert np.ptp(found) > 1e-4

    with pytest.raises(InputError, match="num_layers 2, expected 3"):
        load_public(path, replace(shape, depth=3), 4)
    weights = path / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="vae cannot be read as a diffusers folder"):
        load_public(path, shape, 4)
    torch.save(saved.autoencoder.state_dict(), weights.with_suffix(".bin"))  # a pickle, which is never read
    weights.unlink()
    with pytest.raises(InputError, match="cannot be read as a diffusers folder"):
        load_public(path, shape, 4)


@pytest.mark.parametrize("part", ["transformer", "vae"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, name: tensors.pop(name), "1 weights are missing, first {name}"),
        (lambda tensors, name: tensors.update({name: tensors[name][:1]}), "cannot be read as a diffusers folder"),
        (lambda tensors, name: tensors[name].fill_(math.nan), "{name}"),
    ],
)
def test_public_weights_with_a_bad_tensor_are_refused(public_folder, part, change, message):
    path, shape, _ = public_folder
    file = path / part / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    name = {"transformer": "transformer_blocks.0.attn1.to_q.weight", "vae": "encoder.conv_in.weight"}[part]
    change(tensors, name)
    save_file(tensors, file)
    with pytest.raises(InputError, match=f"{part}.*{message.format(name=name)}"):
        load_public(path, shape, 4)


def test_latent_models_are_not_trained_here():
    latent = replace(DIT_XL_2, image_size=16, width=16, depth=1, heads=1)
    with pytest.raises(InputError, match="latent: true goes with checkpoint"):
        train(build(latent, 10), np.zeros((1, 16, 16, 3), np.uint8), np.zeros(1, np.int64), Steps(1, 1, 0.1), 0, print)
