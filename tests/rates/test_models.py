import numpy as np
import pytest
import torch

from varc.costs.closed_form import pass_gflops
from varc.models.var import VARConfig
from varc.models.vqvae import VQVAEConfig
from varc.planning import BATCH_NUMBERS, BATCH_TOKENS, HEAD_ROWS, Kind
from varc.rates import models, speed
from varc.scoring import attention, batching

VQVAE = VQVAEConfig((1, 2, 3), ch=8, ch_mult=(1, 2), num_res_blocks=1, z_channels=4, vocab_size=16, norm_groups=4)
CPU = torch.device("cpu")


@pytest.mark.parametrize("rule", ["encode", "tokenize", "score", "finetune"])
def test_every_kind_of_work_is_measured(rule, monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.01)
    var = VARConfig(2, 16, 2, 10, 16, 4, (1, 2, 3))
    found = models.measure(
        Kind(rule, "m", 2 if rule == "score" else 3 if rule == "finetune" else 0, "float32"), VQVAE, var, 5, CPU
    )
    assert found.gflops_per_second > 0 and found.seconds_per_job >= 0


def test_a_deep_model_is_measured_on_its_first_blocks(monkeypatch):
    seen = []

    def score(var, quantizer, tokens, candidates, **settings):
        seen.append((len(var.blocks), tokens.shape, candidates.shape))
        return np.zeros((*candidates.shape, 2))

    monkeypatch.setattr(models, "score", score)
    monkeypatch.setattr(speed, "timed", lambda work, images, device: work(images) or 2.0)
    deep = VARConfig(1000, 16, 2, 10, 16, 4, (1, 2, 3))
    found = models.measure(Kind("score", "m", 2, "float32"), VQVAE, deep, 5, CPU)
    assert seen == 2 * [(speed.MOST_DEPTH, (1, 5), (1, 5))]
    shallow = VARConfig(speed.MOST_DEPTH, 16, 2, 10, 16, 4, (1, 2, 3))
    assert found.gflops_per_second == pytest.approx(5 * pass_gflops(shallow, 2) / 2.0)


@pytest.mark.parametrize(("sequences", "images"), [(6, 3), (1, 1), (10_000, 68)])
def test_fine_tuning_is_measured_in_micro_batches_no_larger_than_a_batch_of_scores(monkeypatch, sequences, images):
    seen = []

    def finetune(var, quantizer, tokens, labels, settings, **more):
        assert tokens.shape[1] == len(labels) == settings["batch_size"] * settings["steps"]  # no image comes twice
        assert "beta" in settings and settings["accumulate"] == 1
        seen.append((len(var.blocks), settings["batch_size"], settings["steps"], settings["precision"]))

    monkeypatch.setattr(models, "finetune", finetune)
    monkeypatch.setattr(speed, "timed", lambda work, images, device: work(images) or 2.0)
    deep = VARConfig(1000, 16, 2, 10, 16, 4, (1, 2, 3, 4))  # 30 tokens: 136 sequences at most, by CPU_TOKENS
    found = models.measure(Kind("finetune", "m", 4, "bf16"), VQVAE, deep, sequences, CPU)
    assert seen == 2 * [(speed.MOST_DEPTH, images, 1, "bf16")]
    shallow = VARConfig(speed.MOST_DEPTH, 16, 2, 10, 16, 4, (1, 2, 3, 4))
    assert found.gflops_per_second == pytest.approx(images * 8 * pass_gflops(shallow, 4) / 2.0)


def test_the_plan_knows_the_batches_of_the_engine():
    assert (BATCH_NUMBERS, BATCH_TOKENS) == (batching.CPU_NUMBERS, batching.CPU_TOKENS)
    assert HEAD_ROWS == attention.HEAD_ROWS
