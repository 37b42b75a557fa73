import copy
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from forward import log_prob_per_token

from varc.data.tensors import to_input
from varc.errors import InputError
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAEConfig
from varc.scoring.likelihood import score
from varc.training.augment import Augment
from varc.training.curves import plot_curve, write_curve
from varc.training.loop import Checkpoint, optimise, progress_line
from varc.training.selection import kept_step
from varc.training.validation import Validation, top1_then_likelihood
from varc.training.var import init_weights, train_var
from varc.training.vqvae import (
    Pictures,
    feature_std,
    least_error,
    reconstruction_error,
    train_vqvae,
    update_codebook,
)

CONFIG = VQVAEConfig((1, 2), ch=8, ch_mult=(1, 2), num_res_blocks=1, z_channels=4, vocab_size=16, norm_groups=4)
CPU = torch.device("cpu")
SETTINGS = {"batch_size": 16, "lr": 3e-3, "report": lambda line: None}


def two_kinds_of_images():
    """Bright left halves, and bright right halves, with noise."""
    images = np.random.default_rng(0).integers(0, 26, (40, 4, 4, 3)).astype(np.uint8)
    images[:20, :, :2] += 191
    images[20:, :, 2:] += 191
    return images, torch.arange(40) // 20


@pytest.fixture(scope="module")
def trained():
    images, labels = two_kinds_of_images()
    vqvae, vqvae_curve = train_vqvae(CONFIG, images, steps=150, seed=0, device=CPU, **SETTINGS)
    with torch.inference_mode():
        tokens = vqvae.quantize.quantize(vqvae.features(to_input(images))).clone()
    config = VARConfig(1, 32, 2, 2, 16, 4, (1, 2))
    var, var_curve = train_var(config, vqvae.quantize, tokens[None], labels, steps=150, seed=0, **SETTINGS)
    return vqvae, var, tokens, labels, vqvae_curve, var_curve


def test_the_vqvae_learns_to_reconstruct(trained):
    pixels, _ = two_kinds_of_images()
    vqvae, images = trained[0], to_input(pixels)
    with torch.inference_mode():
        picture = vqvae.decode(vqvae.quantize.dequantize(vqvae.quantize.quantize(vqvae.features(images))))
    assert (picture - images).square().mean() < 0.2 * (images - images.mean(0)).square().mean()
    error = (picture - images).square().mean().item()
    for batch_size in (7, 40):
        assert reconstruction_error(vqvae, pixels, batch_size, CPU) == pytest.approx(error, rel=1e-5)
    assert 0.5 < feature_std(vqvae, pixels, 7, CPU) < 2


def test_the_var_learns_the_classes(trained):
    vqvae, var, tokens, labels, _, var_curve = trained
    candidates = np.array([[0, 1]] * 40, np.int32)
    scores = score(var, vqvae.quantize, tokens.numpy().astype(np.uint16), candidates, batch_size=8, device=CPU)
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
    curves = [train_vqvae(CONFIG, images, steps=30, seed=seed, device=CPU, **SETTINGS)[1] for seed in (1, 1, 2)]
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
    plot_curve(tmp_path / "c.svg", curve, "reconstruction", "mean squared error", "validation_reconstruction")
    table = pd.read_csv(tmp_path / "c.csv")
    assert table["step"].tolist() == list(range(1, 151))
    assert table["reconstruction"].iloc[-1] == pytest.approx(curve[-1]["reconstruction"], rel=1e-4)
    assert (tmp_path / "c.svg").read_text().lstrip().startswith("<?xml")


class KilledError(Exception):
    pass


def trainings(vqvae, tokens):
    """A training of each kind: called with what is changed of its arguments. "all of it": averaged and validated."""
    images, labels = two_kinds_of_images()
    config = VARConfig(1, 32, 2, 2, 16, 4, (1, 2))
    same = SETTINGS | {"steps": 30, "seed": 0}

    def of_vqvae(images=images, **changed):
        return train_vqvae(CONFIG, images, **same | {"device": CPU} | changed)

    def of_var(quantizer=vqvae.quantize, tokens=tokens[None], labels=labels, **changed):
        return train_var(config, quantizer, tokens, labels, **same | changed)

    half = Validation(tokens[::2].numpy().astype(np.uint16), labels[::2].numpy(), np.arange(2, dtype=np.int32), 4)
    more = {"augment": Augment(0.5, 0.1, 10.0), "ema": 0.9, "validation": Pictures(images[::2], 4)}
    return {
        "vqvae": of_vqvae,
        "var": of_var,
        "vqvae, all of it": partial(of_vqvae, **more),
        "var, all of it": partial(of_var, label_dropout=0.3, ema=0.9, validation=half),
    }


KINDS = ("vqvae", "var", "vqvae, all of it", "var, all of it")


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


@pytest.mark.parametrize("kind", KINDS)
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
    more = [{"ema": 0.95}, {"validation": other_validation(kind, tokens, labels)}]
    if kind == "vqvae":
        changes += [{"images": two_kinds_of_images()[0] + 1}]
        more += [{"augment": Augment(0.25)}]
    else:
        other = copy.deepcopy(vqvae.quantize)
        other.embedding.weight.data += 1
        more += [{"label_dropout": 0.2}]
        changes += [{"quantizer": other}, {"labels": 1 - labels}, {"tokens": tokens.flip(0)[None]}]
    for change in changes:
        (tmp_path / "c").write_bytes(content)
        lines = []
        found, _ = train(**change, report=lines.append, checkpoint=Checkpoint(tmp_path / "c"))
        assert lines[0].endswith("of other data, settings or code; not gone on from"), change
        assert same_state(found, train(**change)[0])
    for change in more:
        (tmp_path / "c").write_bytes(content)
        with pytest.raises(KilledError, match="of other data, settings or code; not gone on from"):
            train(**change, report=stopped, checkpoint=Checkpoint(tmp_path / "c"))


def stopped(line):
    raise KilledError(line)


def other_validation(kind, tokens, labels):
    if kind == "vqvae":
        return Pictures(two_kinds_of_images()[0][:4], 3)
    return Validation(tokens.numpy().astype(np.uint16)[:4], labels.numpy()[:4], np.arange(2, dtype=np.int32), 3)


@pytest.mark.parametrize("kind", ["vqvae, all of it", "var, all of it"])
def test_a_training_that_is_killed_after_every_saving_ends_with_the_same_state(kind, trained, tmp_path, always_saved):
    train = trainings(trained[0], trained[2])[kind]
    model, curve = train()
    for step in range(1, 29):
        killed_after(train, tmp_path / "c", step)
    again, curve_again = train(checkpoint=Checkpoint(tmp_path / "c"))
    assert same_state(again, model) and curve_again == curve


def test_what_comes_out_has_the_figures_of_the_best_step(trained):
    train = trainings(trained[0], trained[2])
    images, labels = two_kinds_of_images()
    vqvae, curve = train["vqvae, all of it"](lr=0.01)
    rows = [row for row in curve if "validation_reconstruction" in row]
    assert [row["step"] for row in rows] == [4, 8, 12, 16, 20, 24, 28, 30]
    best = min(rows, key=lambda row: row["validation_reconstruction"])
    assert best["step"] < 30  # such a learning rate is too large in the end
    assert kept_step(curve, least_error) == {name: best[name] for name in ("step", "validation_reconstruction")}
    assert reconstruction_error(vqvae, images[::2], 16, CPU) == best["validation_reconstruction"]

    var, curve = train["var, all of it"](lr=0.03)
    best = kept_step(curve, top1_then_likelihood)
    rows = [(row["validation_accuracy"], -row["validation_nats_per_token"]) for row in curve if len(row) > 3]
    assert max(rows) == (best["validation_accuracy"], -best["validation_nats_per_token"]) and len(set(rows)) > 4
    tokens = trained[2][::2]
    teacher_input = trained[0].quantize.teacher_input(tokens)
    found = [log_prob_per_token(var, teacher_input, tokens, torch.full((20,), y)) for y in (0, 1)]
    scores, y = torch.stack(found).sum(2), labels[::2]
    assert (scores.argmax(0) == y).float().mean().item() == pytest.approx(best["validation_accuracy"])
    expected = -scores[y, torch.arange(20)].sum().item() / tokens.numel()
    assert best["validation_nats_per_token"] == pytest.approx(expected, rel=1e-5)


def test_without_averages_and_validation_the_weights_are_those_of_the_last_step(trained):
    """Also where it is averaged or validated: what follows a training does not change its steps."""
    for kind in ("vqvae", "var"):
        train = trainings(trained[0], trained[2])[kind]
        model, curve = train()
        averaged, same = train(ema=0.9)
        assert same == curve and not same_state(averaged, model)
        validation = other_validation(kind, trained[2], trained[3])
        _, validated = train(validation=validation)
        assert [{name: row[name] for name in row if not name.startswith("validation")} for row in validated] == curve
        assert kept_step(curve, least_error) == {"step": 30}


def test_labels_are_dropped_as_often_as_asked(trained):
    """Without dropout the unconditional class has the embedding that it started with, but for weight decay."""
    train = trainings(trained[0], trained[2])["var"]
    moved = []
    for share in (0.0, 0.5):
        model, _ = train(label_dropout=share, lr=1e-2)
        torch.manual_seed(0)
        start = VAR(model.config)
        init_weights(start)
        moved.append((model.class_emb.weight[2] - start.class_emb.weight[2]).abs().max().item())
    assert moved[0] < 1e-3 < 1e-2 < moved[1]


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
