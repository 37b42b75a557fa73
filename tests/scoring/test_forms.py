"""The exact forms give the same numbers, and a choice among them is made once."""

import json
import multiprocessing

import numpy as np
import pytest
import torch
from device.cases import ALL, PATCH_NUMS, TOKENS, small_models

from varc.errors import InputError
from varc.models.arithmetic import Arithmetic, Forms
from varc.scoring import forms
from varc.scoring.attention import attend, log_prob
from varc.scoring.forms import ATTENTION, LOG_PROB, chosen_forms, computing_on, seconds_of
from varc.scoring.guidance import score_guided
from varc.scoring.likelihood import computing, score
from varc.scoring.progressive import adaptive_scores

CPU = torch.device("cpu")
ALL_FORMS = [Forms(attention, log_prob) for attention in ATTENTION for log_prob in LOG_PROB]


@pytest.fixture(autouse=True)
def not_pinned(monkeypatch):
    monkeypatch.delenv(forms.PINNED, raising=False)


@pytest.mark.parametrize("chosen", ALL_FORMS)
def test_scores_do_not_depend_on_the_forms(chosen):
    """Of every engine; in nats, whose sums are some hundred."""
    vqvae, var = small_models(CPU)
    other = computing(var, Arithmetic(forms=chosen))
    assert other.arithmetic.forms == chosen and var.arithmetic.forms == Forms()

    def found(model):
        whole = score(model, vqvae.quantize, TOKENS[0], ALL, device=CPU)
        guided = score_guided(model, vqvae.quantize, TOKENS[0], ALL, 0.5, device=CPU)
        never = np.full(len(PATCH_NUMS), np.inf)
        adaptive = adaptive_scores(model, vqvae.quantize, TOKENS[:2], ALL, never, device=CPU)
        return whole, guided, adaptive.log_likelihood

    for a, b in zip(found(var), found(other), strict=True):
        assert np.allclose(a, b, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("form", ATTENTION)
@pytest.mark.parametrize("before", [0, 3])
def test_a_scale_attends_to_all_up_to_its_end_and_to_nothing_later(form, before):
    """By the definition, position by position, in float64."""
    torch.manual_seed(0)
    spans = [(0, 1), (1, 5), (5, 14)]
    q, kv = torch.randn(2, 3, 14, 4), torch.randn(2, 2, 3, before + 14, 4)
    found = attend(q, kv, spans, form)
    keys, values = kv.double()
    for first, end in spans:
        for i in range(first, end):
            weights = (q[:, :, i : i + 1].double() @ keys[:, :, : before + end].transpose(-1, -2)).softmax(-1)
            expected = (weights @ values[:, :, : before + end])[:, :, 0]
            assert torch.allclose(found[:, i].double(), expected, atol=1e-6)


@pytest.mark.parametrize("form", LOG_PROB)
def test_log_prob_by_hand(form):
    logits = torch.tensor([[0.0, 1.0, 2.0], [300.0, 0.0, 0.0]])
    expected = [1.0 - np.log(1 + np.e + np.e**2), -300.0]
    assert log_prob(logits, torch.tensor([1, 2]), form).tolist() == pytest.approx(expected, rel=1e-6)


def test_the_first_run_of_a_form_does_not_count(monkeypatch):
    clock = iter(np.cumsum([0.0, 9, 0, 1, 0, 1] + 5 * [0, 2, 0, 3, 0, 1]).tolist())  # the first runs do not count
    monkeypatch.setattr(forms.time, "perf_counter", lambda: next(clock))
    found = seconds_of(("slow", "slower", "fast"), lambda form: torch.zeros(1), CPU)
    assert found == pytest.approx({"slow": 2.0, "slower": 3.0, "fast": 1.0})


def test_the_fastest_forms_are_chosen(monkeypatch):
    found = {"fused": 2.0, "products": 1.0, "masked": 3.0}, {"logsumexp": 2.0, "log_softmax": 1.0}
    monkeypatch.setattr(forms, "seconds_of_forms", lambda *_: found)
    chosen = forms.measure_forms(small_models(CPU)[1], PATCH_NUMS, "float32", CPU)
    assert chosen == Forms("products", "log_softmax")


def test_a_choice_is_measured_once_for_each_shape_and_precision(tmp_path, monkeypatch):
    asked = []

    def measured(var, patch_nums, precision, device):
        asked.append((tuple(patch_nums), precision))
        return ALL_FORMS[len(asked) % 6]

    monkeypatch.setattr(forms, "measure_forms", measured)
    var = small_models(CPU)[1]
    for _ in range(2):
        assert chosen_forms(var, 3, "float32", CPU, tmp_path) == ALL_FORMS[1]
        assert chosen_forms(var, 2, "float32", CPU, tmp_path) == ALL_FORMS[2]
        assert chosen_forms(var, 3, "bf16", CPU, tmp_path) == ALL_FORMS[3]
    assert asked == [(PATCH_NUMS[:3], "float32"), (PATCH_NUMS[:2], "float32"), (PATCH_NUMS[:3], "bf16")]
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 3


def choose(path, name, barrier):
    barrier.wait()
    forms.write_first(path, {"attention": name, "log_prob": "logsumexp"})


def test_of_two_jobs_that_choose_at_once_both_take_the_first_choice(tmp_path):
    """Many times, since they seldom meet."""
    context = multiprocessing.get_context("fork")
    for i in range(20):
        barrier, path = context.Barrier(2), tmp_path / f"{i}.json"
        jobs = [context.Process(target=choose, args=(path, name, barrier)) for name in ATTENTION[:2]]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
            assert job.exitcode == 0
        first = path.read_bytes()
        forms.write_first(path, {"attention": "masked", "log_prob": "logsumexp"})
        assert path.read_bytes() == first and json.loads(first)["attention"] in ATTENTION[:2]
    assert len(list(tmp_path.iterdir())) == 20


def test_forms_that_are_named_are_taken(tmp_path, monkeypatch):
    monkeypatch.setenv(forms.PINNED, "masked,log_softmax")
    model = computing_on(CPU, small_models(CPU)[1], "float32", 3, tmp_path)
    assert model.arithmetic == Arithmetic("float32", Forms("masked", "log_softmax"))
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(forms.PINNED, "quick")
    with pytest.raises(
        InputError, match="VARC_FORMS=quick: expected one of fused,logsumexp, fused,log_softmax, products"
    ):
        computing_on(CPU, small_models(CPU)[1], "float32", 3, tmp_path)


def test_forms_that_round_in_bfloat16_are_no_choice_there():
    var = small_models(CPU)[1]
    assert set(forms.seconds_of_forms(var, PATCH_NUMS, "bf16", CPU)[0]) == {"fused", "masked"}


@pytest.mark.parametrize("form", ["fused", "masked"])
def test_attention_in_bfloat16_is_near_the_exact_one(form):
    torch.manual_seed(0)
    spans, q, kv = [(0, 1), (1, 5), (5, 14)], 3 * torch.randn(2, 3, 14, 16), torch.randn(2, 2, 3, 14, 16)
    q, kv = q.bfloat16(), kv.bfloat16()
    exact = attend(q.float(), kv.float(), spans, "fused")
    assert (attend(q, kv, spans, form).float() - exact).abs().max() < 0.02


def test_the_measurement_takes_one_of_the_forms():
    var = small_models(CPU)[1]
    assert forms.measure_forms(var, PATCH_NUMS, "float32", CPU) in ALL_FORMS


def test_a_model_in_bfloat16_cannot_be_made_exact_again():
    half = computing(small_models(CPU)[1], Arithmetic("bf16"))
    with pytest.raises(ValueError, match="a model in bf16 cannot compute in float32"):
        computing(half, Arithmetic())
