import numpy as np
import pytest
import torch
from torch import nn

from varc.seeded import order_by_hash
from varc.storage import MANIFEST, fixed_size_list, tokens_schema, write_parquet
from varc.training.selection import Average, Measure, Selection, kept_step
from varc.training.validation import read_validation, top1, top1_then_likelihood


def small_model():
    """Two parameters that are trained, one that is not, and a buffer."""
    model = nn.BatchNorm1d(2, affine=True)
    model.register_parameter("fixed", nn.Parameter(torch.zeros(2), requires_grad=False))
    return model


def trajectory(model, steps):
    """Moves all that a model holds, step by step."""
    for step in range(1, steps + 1):
        with torch.no_grad():
            for t in model.state_dict().values():
                t.copy_(torch.full_like(t, step**2))
        yield step


@pytest.mark.parametrize("decay", [0.3, 0.9999])
def test_the_average_in_closed_form(decay):
    model = small_model()
    average = Average(model, decay)
    expected = np.array([1.0, 0.0])  # BatchNorm's weight and bias
    for step in trajectory(model, 20):
        average.update(step - 1)
        keep = min(decay, step / (9 + step))
        expected = keep * expected + (1 - keep) * step**2
    assert [a.dtype for a in average.averages] == [torch.float32] * 2
    assert np.allclose([a[0].item() for a in average.averages], expected, rtol=1e-5)


def test_a_constant_decay_forgets_geometrically():
    """Past the warm-up: d^n of what was there before, and (1 - d) d^(n - 1 - i) of step i."""
    model = small_model()
    average, d = Average(model, 0.5), 0.5
    for i in range(10):
        model.weight.data.fill_(i)
        average.update(100 + i)
    expected = d**10 * 1.0 + sum((1 - d) * d ** (9 - i) * i for i in range(10))
    assert average.averages[0][0].item() == pytest.approx(expected, rel=1e-6)


def test_averages_stand_in_place_for_a_block_only_even_one_that_fails():
    model = small_model()
    average = Average(model, 0.5)
    model.weight.data.fill_(7)
    with pytest.raises(KeyError), average.in_place():
        assert model.weight.tolist() == [1.0, 1.0]
        raise KeyError
    assert model.weight.tolist() == [7.0, 7.0]


def followed(model, selection, steps):
    """The curve of a training that a selection follows."""
    curve = [{"step": 0, **selection.after({"step": 0})}] if not selection.average else []
    curve += [{"step": step, **selection.after({"step": step})} for step in trajectory(model, steps)]
    selection.finish(lambda line: None)
    return curve


def test_the_averages_of_the_best_step_are_saved_with_all_else_as_it_was_then():
    model, wanted = small_model(), {3: 0.2, 6: 0.9, 9: 0.5, 10: 0.1}
    seen = {}

    def figures():
        step = len(seen) * 3 + 3 if len(seen) < 3 else 10
        seen[step] = {name: t.clone() for name, t in model.state_dict().items()}
        return {"validation_accuracy": wanted[step]}

    selection = Selection(model, 10, ema=0.4, measure=Measure(figures, 3, top1))
    curve = followed(model, selection, 10)
    assert list(seen) == list(wanted)
    assert kept_step(curve, top1) == {"step": 6, "validation_accuracy": 0.9}
    assert all(torch.equal(t, seen[6][name]) for name, t in model.state_dict().items())
    assert model.running_mean.tolist() == model.fixed.tolist() == [36.0, 36.0]  # not averaged
    average, expected = Average(small_model(), 0.4), np.array([1.0, 0.0])
    assert average.decay == 0.4
    for step in range(1, 7):
        keep = min(0.4, step / (9 + step))
        expected = keep * expected + (1 - keep) * step**2
    assert np.allclose([model.weight[0].item(), model.bias[0].item()], expected)


def test_without_validation_the_last_averages_are_saved():
    model = small_model()
    selection = Selection(model, 4, ema=0.5)
    followed(model, selection, 4)
    assert torch.equal(model.weight, selection.average.averages[0])
    assert model.running_mean.tolist() == [16.0, 16.0] != model.weight.tolist()


@pytest.mark.parametrize(
    ("rule", "best"),
    [(top1, 4), (top1_then_likelihood, 3)],
)
def test_equal_accuracies(rule, best):
    """Fine-tuning takes the last of them, training the one of the best likelihood, of equal ones the last."""
    accuracy, nats = [0.1, 0.7, 0.7, 0.7, 0.7, 0.2], [2.0, 1.5, 1.2, 1.2, 1.9, 1.0]
    rows = [{"validation_accuracy": a, "validation_nats_per_token": n} for a, n in zip(accuracy, nats, strict=True)]
    model, given = small_model(), iter(rows)
    curve = followed(model, Selection(model, 5, measure=Measure(lambda: next(given), 1, rule)), 5)
    assert kept_step(curve, rule) == {"step": best, **rows[best]}
    assert model.fixed.tolist() == [best**2] * 2


def test_so_many_images_are_chosen_by_their_names_whatever_else_is_there(tmp_path):
    ids = [f"{i:02}" for i in range(12)]
    tokens = np.arange(60).reshape(12, 5).astype(np.uint16)
    write_parquet(tmp_path / "t", {"image_id": ids, "tokens": fixed_size_list(tokens)}, tokens_schema(5), {})
    columns = {"image_id": ids, "label": list(range(12)), "path": ids, "group": [None] * 12}
    write_parquet(tmp_path / "m", columns, MANIFEST, {})

    def chosen(images, seed):
        found = read_validation([tmp_path / "t"], tmp_path / "m", [0, 1], 2, images, seed)
        assert (found.tokens == tokens[found.labels]).all()
        return found.labels.tolist()

    assert chosen(None, 0) == list(range(12))
    assert set(chosen(4, 0)) < set(chosen(5, 0)) and chosen(4, 0) == sorted(order_by_hash(ids, 0, "validate")[:4])
    assert len({tuple(chosen(4, seed)) for seed in range(5)}) == 5
