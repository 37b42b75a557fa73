import copy

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
from varc.training.loop import Checkpoint, optimise, progress_line
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


class KilledError(Exception):
    pass


def trainings(vqvae, tokens):
    """A training of each kind: called with what is changed of its arguments."""
    images, labels = two_kinds_of_images()
    config = VARConfig(1, 32, 2, 2, 16, 4, (1, 2))
    same = SETTINGS | {"steps": 30, "seed": 0}

    def of_vqvae(images=images, **changed):
        return train_vqvae(CONFIG, images, **same | changed)

    def of_var(quantizer=vqvae.quantize, tokens=tokens[None], labels=labels, **changed):
        return train_var(config, quantizer, tokens, labels, **same | changed)

    return {"vqvae": of_vqvae, "var": of_var}


def same_state(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def killed_after(train, path, step):
    """A training that is killed in the step after that one; what it has in its checkpoint."""

    def kill(line):
        if line.startswith(f"step {step + 1}/"):
            raise KilledError

    with pytest.raises(KilledError):
        train(report=kill, checkpoint=Checkpoint(path))
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["vqvae", "var"])
@pytest.mark.parametrize("step", [1, 2, 17])  # without the quantiser still, or with it
def test_a_killed_training_goes_on_and_ends_with_the_same_state(kind, step, trained, tmp_path, always_saved):
    train = trainings(trained[0], trained[2])[kind]
    model, curve = train()
    killed_after(train, tmp_path / "c", step)
    lines, checkpoint = [], Checkpoint(tmp_path / "c")
    torch.rand(3)  # whatever a global generator gave meanwhile
    again, curve_again = train(report=lines.append, checkpoint=checkpoint)
    assert lines[0] == f"goes on after step {step} of 30" and checkpoint.seconds > 0
    assert same_state(again, model) and curve_again == curve


@pytest.mark.parametrize("kind", ["vqvae", "var"])
def test_a_training_does_not_go_on_from_another(kind, trained, tmp_path, always_saved):
    vqvae, _, tokens, labels = trained[:4]
    train = trainings(vqvae, tokens)[kind]
    content = killed_after(train, tmp_path / "c", 17)
    changes = [{"lr": 1e-3}, {"seed": 1}, {"batch_size": 8}, {"steps": 31}]
    if kind == "vqvae":
        changes += [{"images": two_kinds_of_images()[0] * 0.9}]
    else:
        other = copy.deepcopy(vqvae.quantize)
        other.embedding.weight.data += 1
        changes += [{"quantizer": other}, {"labels": 1 - labels}, {"tokens": tokens.flip(0)[None]}]
    for change in changes:
        (tmp_path / "c").write_bytes(content)
        lines = []
        found, _ = train(**change, report=lines.append, checkpoint=Checkpoint(tmp_path / "c"))
        assert lines[0].endswith("of other data, settings or code; not gone on from"), change
        assert same_state(found, train(**change)[0])


def test_a_damaged_state_is_not_gone_on_from(trained, tmp_path, always_saved):
    train = trainings(trained[0], trained[2])["vqvae"]
    content, (model, curve) = killed_after(train, tmp_path / "c", 17), train()
    rng = np.random.default_rng(0)
    for times in range(8):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        (tmp_path / "c").write_bytes(content[: len(content) // 2] if times == 0 else b"" if times == 1 else damaged)
        lines = []
        found, curve_found = train(report=lines.append, checkpoint=Checkpoint(tmp_path / "c"))
        assert "damaged, or of another version; not gone on from" in lines[0]
        assert same_state(found, model) and curve_found == curve


def test_a_state_that_cannot_be_saved_ends_no_training(trained, tmp_path, always_saved, monkeypatch):
    def full(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr("varc.training.loop.save_tensors", full)
    lines = []
    trainings(trained[0], trained[2])["var"](report=lines.append, checkpoint=Checkpoint(tmp_path / "c"))
    assert "the state after step 1 is not kept" in "".join(lines) and lines[-1].startswith("step 30/30")


def test_no_training_draws_from_the_global_generator(trained):
    for train in trainings(trained[0], trained[2]).values():
        states = []
        train(report=lambda line, states=states: states.append(torch.get_rng_state()))
        assert all(torch.equal(state, states[0]) for state in states)


def test_a_short_training_saves_nothing(trained, tmp_path):
    trainings(trained[0], trained[2])["var"](checkpoint=Checkpoint(tmp_path / "c"))
    assert not list(tmp_path.iterdir())
