"""Curves of trainings can be read, however short a training is."""

import pytest
from figures import faults

import varc.training.curves as curves


def rows(steps, **columns):
    """A curve whose values fall; columns that are validated are known every tenth step and at the last one."""
    known = [{"step": step, **{name: top / step for name, top in columns.items()}} for step in range(1, steps + 1)]
    skipped = {name: None for name in columns if name.startswith("validation_")}
    return [row if row["step"] in (10, 20, steps) else row | skipped for row in known]


@pytest.fixture
def figures(monkeypatch):
    made = []
    monkeypatch.setattr(curves, "save_figure", lambda path, figure: made.append(figure))
    return made


@pytest.mark.parametrize("steps", [1, 2, 60])
@pytest.mark.parametrize("top", [1e-4, 3.0])
def test_a_loss_and_what_is_validated(steps, top, figures):
    curve = rows(steps, loss=top, validation_loss=top, validation_accuracy=1.0)
    curves.plot_curve("curve.svg", curve, "loss", "cross-entropy, nats per token", "validation_loss")
    assert faults(figures[0]) == []
    names = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert names == ["each step", *(["mean of 25 steps"] if steps == 60 else []), "validation"]
    if steps == 60:  # the mean stands in the middle of its steps
        assert figures[0].axes[0].lines[1].get_ydata()[12] == pytest.approx(sum(top / n for n in range(1, 26)) / 25)


@pytest.mark.parametrize("steps", [1, 2, 60])
def test_a_fine_tuning(steps, figures):
    names = ("loss", "log_ratio", "log_ratio_negative", "nats_per_token", "validation_nats_per_token")
    curves.plot_finetuning("curve.svg", rows(steps, **dict.fromkeys(names, 2.0)))
    assert faults(figures[0]) == [] and len(figures[0].axes) == 3
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == list(names)
