import numpy as np
import pytest
import torch
from forward import log_prob_per_token

from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig
from varc.scoring.sampling import draw, sample_tokens

V = 4


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    var = VAR(VARConfig(2, 16, 2, 3, V, 4, (1, 2, 3))).eval().requires_grad_(False)
    for p in var.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return var, MultiScaleQuantizer(V, 4, (1, 2, 3)).eval().requires_grad_(False)


def seeded():
    return torch.Generator().manual_seed(0)


def exact(var, quantizer, tokens, label):
    """p of each token (L,) under a label."""
    return log_prob_per_token(var, quantizer.teacher_input(tokens), tokens, torch.full((len(tokens),), label)).exp()


def test_frequencies_are_the_models_probabilities(small):
    """Of (first token, a token of scale 1), jointly: exact by enumeration."""
    n = 20_000
    tokens = sample_tokens(*small, torch.full((n,), 1), generator=seeded())
    for position in (1, 4):
        probability, frequency = np.zeros((V, V)), np.zeros((V, V))
        for a in range(V):
            for b in range(V):
                sequence = torch.zeros(1, 5, dtype=torch.int64)
                sequence[0, 0], sequence[0, position] = a, b
                p = exact(*small, sequence, 1)[0]
                probability[a, b] = p[0] * p[position]
                frequency[a, b] = ((tokens[:, 0] == a) & (tokens[:, position] == b)).double().mean()
        assert probability.sum() == pytest.approx(1, abs=1e-5)
        assert np.abs(frequency - probability).max() < 4 * np.sqrt(probability * (1 - probability) / n).max()
        assert probability.max() > 2 / V**2  # not uniform, so the test can fail


def test_the_last_scale_follows_the_two_before_it(small):
    """The mean log-probability of what is drawn is the mean of the negative entropies at the same positions."""
    var, quantizer = small
    tokens = sample_tokens(var, quantizer, torch.full((4000,), 2), generator=seeded())
    with torch.inference_mode():
        log_p = var(torch.full((4000,), 2), quantizer.teacher_input(tokens)).log_softmax(-1)
    drawn = log_p.gather(-1, tokens[..., None])[..., 0]
    negative_entropy = (log_p.exp() * log_p).sum(-1)
    error = (drawn - negative_entropy)[:, 5:].std() / (4000 * 9) ** 0.5
    assert abs((drawn - negative_entropy)[:, 5:].mean()) < 4 * error


def test_the_most_likely_tokens_are_drawn_without_chance(small):
    labels = torch.tensor([0, 2])
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        tokens = sample_tokens(*small, labels, generator=seeded(), **narrow)
        var, quantizer = small
        with torch.inference_mode():
            assert (var(labels, quantizer.teacher_input(tokens)).argmax(-1) == tokens).all()


def test_guidance_moves_away_from_the_unconditional_class(small):
    var, quantizer = small
    n, g = 20_000, 2.5
    tokens = sample_tokens(var, quantizer, torch.zeros(n, dtype=torch.int64), generator=seeded(), guidance=g)
    nothing = torch.zeros(1, 0, 4)
    with torch.inference_mode():
        c, u = (var(torch.tensor([label]), nothing)[0, 0] for label in (0, 3))
    expected = (u + g * (c - u)).softmax(-1)
    frequency = torch.bincount(tokens[:, 0], minlength=V) / n
    assert (frequency - expected).abs().max() < 4 * 0.5 / n**0.5
    assert (c.softmax(-1) - expected).abs().max() > 0.05


def test_truncation_and_temperature():
    logits = torch.log(torch.tensor([[[0.5, 0.3, 0.15, 0.05]]])).repeat(20_000, 1, 1)

    def frequency(**options):
        settings = {"temperature": 1.0, "top_k": None, "top_p": 1.0} | options
        return (torch.bincount(draw(logits, generator=seeded(), **settings)[:, 0], minlength=V) / 20_000).tolist()

    near = {"abs": 0.015}
    assert frequency() == pytest.approx([0.5, 0.3, 0.15, 0.05], **near)
    assert frequency(top_k=2) == pytest.approx([0.625, 0.375, 0, 0], **near)
    assert frequency(top_p=0.6) == pytest.approx([0.625, 0.375, 0, 0], **near)
    squares = np.array([0.5, 0.3, 0.15, 0.05]) ** 2
    assert frequency(temperature=0.5) == pytest.approx(squares / squares.sum(), **near)
