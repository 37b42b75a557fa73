import numpy as np
import pandas as pd
import pytest
import torch
from forward import log_prob_per_token

from varc.errors import InputError
from varc.models.var import VARConfig
from varc.models.vqvae import VQVAEConfig
from varc.scoring.likelihood import score
from varc.training.curves import plot_curve, write_curve
from varc.training.loop import optimise, progress_line
from varc.training.var import train_var
from varc.training.vqvae import feature_std, train_vqvae, update_codebook

CONFIG = VQVAEConfig((1, 2), ch=8, ch_mult=(1, 2), num_res_blocks=1, z_channels=4, vocab_size=16, norm_groups=4)
SETTINGS = {"batch_size": 16, "lr": 3e-3, "report": lambda line: None}


def two_kinds_of_images():
    """Bright left halves, and bright right halves, with noise."""
    torch.manual_seed(0)
    images = torch.rand(40, 3, 4, 4) * 0.2 - 1
    images[:20, :, :, :2] += 1.5
    images[20:, :, :, 2:] += 1.5
    return images, torch.arange(40) // 20


@pytest.fixture(scope="module")
def trained():
    images, labels = two_kinds_of_images()
    vqvae, vqvae_curve = train_vqvae(CONFIG, images, steps=150, seed=0, **SETTINGS)
    with torch.inference_mode():
        tokens = vqvae.quantize.quantize(vqvae.features(images)).clone()
    config = VARConfig(1, 32, 2, 2, 16, 4, (1, 2))
    var, var_curve = train_var(config, vqvae.quantize, tokens[None], labels, steps=150, seed=0, **SETTINGS)
    return vqvae, var, tokens, labels, vqvae_curve, var_curve


def test_the_vqvae_learns_to_reconstruct(trained):
    images, _ = two_kinds_of_images()
    vqvae = trained[0]
    with torch.inference_mode():
        picture = vqvae.decode(vqvae.quantize.dequantize(vqvae.quantize.quantize(vqvae.features(images))))
    assert (picture - images).square().mean() < 0.2 * (images - images.mean(0)).square().mean()
    assert 0.5 < feature_std(vqvae, images, 7) < 2


def test_the_var_learns_the_classes(trained):
    vqvae, var, tokens, labels, _, var_curve = trained
    candidates = np.array([[0, 1]] * 40, np.int32)
    scores = score(
        var, vqvae.quantize, tokens.numpy().astype(np.uint16), candidates, batch_size=8, device=torch.device("cpu")
    )
    assert (scores.sum(-1).argmax(1) == labels.numpy()).all()
    assert np.mean([row["loss"] for row in var_curve[-20:]]) < 0.7 * var_curve[0]["loss"]


def test_the_unconditional_class_lies_between(trained):
    # trained by label dropout on both classes: it does not know which one, so it is worse than the right label only
    vqvae, var, tokens, labels, _, _ = trained
    teacher_input = vqvae.quantize.teacher_input(tokens)
    right, wrong, none = (
        log_prob_per_token(var, teacher_input, tokens, y).sum(1).mean()
        for y in (labels, 1 - labels, torch.full((40,), 2))
    )
    assert wrong < none < right


def test_training_is_the_same_for_the_same_seed(trained):
    images, labels = two_kinds_of_images()
    curves = [train_vqvae(CONFIG, images, steps=30, seed=seed, **SETTINGS)[1] for seed in (1, 1, 2)]
    assert curves[0] == curves[1] != curves[2]
    vqvae, _, tokens, labels, _, _ = trained
    config = VARConfig(1, 32, 2, 2, 16, 4, (1, 2))
    curves = [
        train_var(config, vqvae.quantize, tokens[None], labels, steps=5, seed=seed, **SETTINGS)[1] for seed in (1, 1, 2)
    ]
    assert curves[0] == curves[1] != curves[2]


def test_codes_move_to_the_mean_of_what_they_stand_for_and_dead_ones_restart():
    codebook, counts, sums = torch.zeros(3, 2), torch.zeros(3), torch.zeros(3, 2)
    z, indices = torch.tensor([[1.0, 2.0], [3.0, 4.0], [10.0, 0.0]]), torch.tensor([0, 0, 1])
    for _ in range(600):
        update_codebook(codebook, counts, sums, z, indices, torch.Generator().manual_seed(0))
    assert torch.allclose(codebook[:2], torch.tensor([[2.0, 3.0], [10.0, 0.0]]), atol=1e-2)
    assert any(torch.allclose(codebook[2], row) for row in z)


def test_optimise_finds_a_minimum_and_records_it():
    x = torch.nn.Parameter(torch.tensor([3.0]))
    lines = []
    curve = optimise(
        [x],
        lambda step: iter([{"loss": (x - 1).square().sum()}]),
        steps=400,
        lr=0.05,
        weight_decay=0.0,
        report=lines.append,
    )
    assert x.item() == pytest.approx(1.0, abs=1e-2)
    assert [row["step"] for row in curve] == list(range(1, 401))
    assert len(lines) == 20
    assert lines[-1].startswith("step 400/400, loss 0.0000, ") and lines[-1].endswith("ETA 0 s")


def test_a_loss_that_is_not_finite_stops_the_training():
    x = torch.nn.Parameter(torch.tensor([1.0]))
    with pytest.raises(InputError, match="step 3 of 10: lower lr"):
        optimise(
            [x],
            lambda step: iter([{"loss": x.sum() / (2 - step if step == 2 else 1)}]),
            steps=10,
            lr=1e-3,
            report=lines_off,
        )


def lines_off(line):
    pass


def test_progress_line():
    row = {"step": 50, "lr": 0.1, "loss": 1.5, "reconstruction": 0.25}
    assert progress_line(row, 200, 5.0) == "step 50/200, loss 1.5000, reconstruction 0.2500, 5.0 steps/s, ETA 30 s"


def test_curves_are_written_as_csv_and_svg(tmp_path, trained):
    curve = trained[4]
    write_curve(tmp_path / "c.csv", curve)
    plot_curve(tmp_path / "c.svg", curve, "reconstruction", "mean squared error")
    table = pd.read_csv(tmp_path / "c.csv")
    assert table["step"].tolist() == list(range(1, 151))
    assert table["reconstruction"].iloc[-1] == pytest.approx(curve[-1]["reconstruction"], rel=1e-4)
    assert (tmp_path / "c.svg").read_text().lstrip().startswith("<?xml")
