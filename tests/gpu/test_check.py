"""The checks of `make test-gpu` and the figures of `make bench-gpu`, on the CPU: each must be able to fail."""

import math
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.insert(1, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[2] / "benchmarks"))

import agreement
import arithmetic
import card
import check
import gpu
import memory
import outcome
import processes
from agreement import CPU, NATS, SMALL, random_inputs
from outcome import Result, Setup
from random_models import random_quantizer, random_var, var_shape

from varc.models.architectures import PATCH_NUMS_256
from varc.models.vqvae import VQVAEConfig
from varc.scoring import likelihood
from varc.storage import tokens_schema, write_parquet

QUICK = Setup(CPU, True)
CUDA = Setup(torch.device("cuda"), True)  # of which nothing here asks a card


def verdicts(results):
    """What the checks of these names say."""
    return {result.name: result.ok for result in results}


def test_checks_run_on_the_cpu_and_one_that_fails_shows_in_the_status(capsys, monkeypatch):
    names = ["build", "sentinels", "d16", "tokens", "bf16", "pairs"]
    assert check.main(["--device", "cpu", "--quick", *names]) == 0
    printed = capsys.readouterr().out
    assert "ok      product in float32" in printed and "skipped build" in printed and "0 failed" in printed
    monkeypatch.setitem(check.CHECKS, "d16", lambda setup: iter([Result("one", False, "2", "at most 1")]))
    assert check.main(["--device", "cpu", "--quick", "d16", "pairs"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("FAILED  one") == 2 and "ok      700 pairs" in printed  # the next check was made


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_card_there_is_one_line(capsys):
    assert check.main([]) == 1
    assert capsys.readouterr().out.count("\n") == 1
    with pytest.raises(SystemExit, match=r"^device: cuda was asked for, but torch .* sees no GPU"):
        gpu.main([])


def test_an_error_is_a_failure_and_a_missing_package_is_told(capsys):
    def absent(name):
        raise ModuleNotFoundError(name=name)

    def broken():
        yield Result("first", True, "1")
        raise RuntimeError("CUDA error: invalid configuration argument\nmore")

    (skipped,) = outcome.attempt("a", lambda: absent("PIL.Image"))
    assert skipped == Result("a", None, "needs pillow")
    (ours,) = outcome.attempt("a", lambda: absent("varc.scoring.moved"))
    assert ours.ok is False
    first, failed = outcome.attempt("a", broken)
    assert first.ok and failed.ok is False
    assert failed.figure == "RuntimeError: CUDA error: invalid configuration argument"
    assert "invalid configuration" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("codes", "capability", "runs"),
    [
        ("sm_80 sm_90", (9, 0), True),
        ("sm_80 sm_86", (8, 9), True),  # a later minor
        ("sm_90 sm_100", (8, 0), False),
        ("sm_80 sm_90", (10, 0), False),  # a later major needs PTX
        ("sm_80 compute_90", (12, 0), True),
        ("sm_90a", (9, 0), True),
        ("sm_100f compute_103a", (12, 0), False),
    ],
)
def test_which_cards_a_build_has_code_for(codes, capability, runs):
    assert arithmetic.has_code(codes.split(), capability) is runs


def test_the_driver_that_the_kernel_module_names(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    monkeypatch.setattr(card, "MODULE", tmp_path / "version")
    assert card.driver_version() == "unknown"
    card.MODULE.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n")
    assert card.driver_version() == "580.65.06"


@pytest.mark.parametrize("name", arithmetic.OPERATIONS)
def test_a_sentinel_notices_tensorfloat_32(name, monkeypatch):
    operation = arithmetic.OPERATIONS[name]
    monkeypatch.setattr(arithmetic, "OPERATIONS", {name: operation})
    assert verdicts(arithmetic.sentinels(QUICK)) == {f"{name} in float32": True, f"{name} in TensorFloat-32": True}

    def in_tf32(*inputs):
        return operation.run(*(x if x.dtype == torch.float64 else arithmetic.rounded(x) for x in inputs))

    monkeypatch.setattr(arithmetic, "OPERATIONS", {name: operation._replace(run=in_tf32)})
    assert verdicts(arithmetic.sentinels(QUICK))[f"{name} in float32"] is False
    monkeypatch.setattr(arithmetic, "OPERATIONS", {name: operation})
    monkeypatch.setattr(arithmetic, "rounded", lambda x: x)  # a sentinel that sees nothing
    assert verdicts(arithmetic.sentinels(QUICK))[f"{name} in TensorFloat-32"] is False


def test_rounding_to_tensorfloat_32():
    x = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-11 + 2**-20, 1 + 2**-12, -3.0 - 2**-9])
    assert arithmetic.rounded(x).tolist() == [1.0, 1 + 2**-10, 1 + 2**-10, 1.0, -3.0 - 2**-9]


def test_sums_in_bfloat16_are_a_failure(monkeypatch):
    for allowed in (True, False):
        monkeypatch.setattr(
            torch.backends.cuda, "matmul", SimpleNamespace(allow_bf16_reduced_precision_reduction=allowed)
        )
        (result,) = arithmetic.reductions(CUDA)
        assert result.ok is not allowed


def test_the_bound_in_nats_lies_between_float32_and_tensorfloat_32(monkeypatch):
    vqvae = VQVAEConfig(PATCH_NUMS_256)
    config = var_shape(vqvae, classes=1000, depth=2, width=128, heads=2)
    var, quantizer, inputs = random_var(config), random_quantizer(vqvae), random_inputs(config, 1, 3)
    exact = likelihood.score(var, quantizer, *inputs, device=CPU)
    monkeypatch.setattr(likelihood, "ONEDNN", False)  # other sums
    assert 0 < agreement.nats(likelihood.score(var, quantizer, *inputs, device=CPU), exact) < NATS / 10
    linear, rounded = likelihood.linear, arithmetic.rounded
    monkeypatch.setattr(likelihood, "linear", lambda x, w, *rest: linear(rounded(x), rounded(w), *rest))
    assert agreement.nats(likelihood.score(var, quantizer, *inputs, device=CPU), exact) > NATS


@pytest.mark.parametrize(("off", "ok"), [(0.5e-4, True), (2e-4, False), (np.nan, False)])
def test_a_case_that_differs_is_a_failure(off, ok):
    results = iter([np.array([np.nan, 1.0, 100.0]), np.array([np.nan, 1.0, 100.0 * (1 + off)])])
    assert agreement.compare_case("one", lambda device: next(results), CPU).ok is ok


def test_results_of_other_shapes_differ():
    assert agreement.difference(np.zeros(3), np.zeros(2)) == np.inf


@pytest.fixture(scope="module")
def tied():
    """A quantiser, and features halfway between its two nearest codes; their tokens, and these two codes."""
    quantizer = random_quantizer(SMALL)
    codes = quantizer.embedding.weight
    apart = torch.cdist(codes, codes) + 1e9 * torch.eye(len(codes))
    a, b = divmod(int(apart.argmin()), len(codes))
    features = ((codes[a] + codes[b]) / 2).view(1, -1, 1, 1).expand(64, -1, 4, 4).clone()
    return quantizer, features, agreement.quantized(quantizer, features, 64), (a, b)


def test_other_tokens_must_be_near_ties(tied):
    quantizer, features, tokens, (a, b) = tied
    names = ("identical tokens", "other tokens: near ties, distance")
    for image_share, other, expected in (
        (0.0, 0, (True, True)),
        (0.04, a + b - int(tokens[0, 0]), (True, True)),  # the other one of two codes that are equally near
        (0.04, next(c for c in range(64) if c not in (a, b)), (True, False)),
        (0.1, a + b - int(tokens[0, 0]), (False, True)),
    ):
        found = tokens.copy()
        changed = round(image_share * len(found))
        found[:changed, 1:] = 0  # what follows a tie may be anything
        found[:changed, 0] = other
        assert (
            tuple(verdicts(agreement.compare_tokens(quantizer, features, tokens, found))[n] for n in names) == expected
        )


def test_features_in_tensorfloat_32_are_a_failure(monkeypatch):
    original = torch.nn.Conv2d.forward
    calls = []

    def forward(self, x):
        calls.append(0)
        return original(self, arithmetic.rounded(x) if len(calls) > 10 else x)

    assert all(verdicts(agreement.image_tokens(QUICK)).values())
    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)
    assert verdicts(agreement.image_tokens(QUICK))["features, relative"] is False


def test_bf16_may_change_predictions_only_where_classes_are_close():
    exact = np.tile([[-100.0, -101.0, -103.0]], (10, 1))
    close = exact.copy()
    close[:4, 1] = -100.1
    assert agreement.compare_predictions(exact, exact + 0.3, change=0.5).ok
    swapped = close[:, [1, 0, 2]]
    assert agreement.compare_predictions(close, np.vstack([swapped[:4], close[4:]]), change=0.5).ok
    assert not agreement.compare_predictions(close, np.vstack([close[:9], swapped[9:]]), change=0.5).ok
    close[:6, 1] = -100.1
    assert not agreement.compare_predictions(close, close, change=0.5).ok  # too few that tell anything
    assert math.isclose(agreement.change_in_bf16(680), 0.288, rel_tol=1e-2)


def test_a_batch_that_is_wrong_beyond_a_grid_is_a_failure(monkeypatch):
    calls = []

    def score(*arguments, batch_size=None, **options):
        calls.append(batch_size)
        found = likelihood.score(*arguments, batch_size=batch_size, **options)
        found[-1] += 1e-4 * np.abs(found[-1]) * (batch_size == 700)
        return found

    monkeypatch.setattr(memory, "score", score)
    assert list(verdicts(memory.many_pairs(QUICK)).values()) == [False, True]
    assert calls == [None, 700, None]


@contextmanager
def few_pairs(most):
    """Memory for so many pairs: more in a block are an error."""
    times, block_pass = [], likelihood.block_pass

    def limited(block, x, *arguments):
        if len(x) > most:
            times.append(len(x))
            raise torch.OutOfMemoryError
        return block_pass(block, x, *arguments)

    likelihood.block_pass = limited
    try:
        yield lambda: len(times)
    finally:
        likelihood.block_pass = block_pass


def test_a_run_that_never_ran_out_of_memory_or_gives_something_else_is_a_failure():
    run = memory.scorings(QUICK)["score"]
    expected = run()
    assert memory.compare_limited("score", run, expected, few_pairs(20)).ok
    assert not memory.compare_limited("score", run, expected, few_pairs(1000)).ok
    assert not memory.compare_limited("score", run, expected * (1 + 1e-5), few_pairs(20)).ok
    (failed,) = outcome.attempt("score", lambda: [memory.compare_limited("score", run, expected, few_pairs(0))])
    assert not failed.ok


def test_two_processes_score_alike():
    assert list(verdicts(processes.two_processes(QUICK)).values()) == [True, True]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_process_that_fails_is_a_failure():
    (result,) = processes.two_processes(CUDA)
    assert not result.ok and "sees no GPU" in result.figure


def test_a_demo_must_classify_on_the_device_alone(tmp_path):
    tables, tokens = tmp_path / "tables", tmp_path / "tokens"
    tables.mkdir()
    for shard, device in enumerate(("a card", "a card")):
        columns = {"image_id": ["a"], "tokens": [[1, 2]]}
        write_parquet(tokens / f"{shard}.parquet", columns, tokens_schema(2), {"images": 1, "device": device})

    def found(top1, device="a card"):
        (tables / "accuracy.csv").write_text(f"classifier,top1\nvarc,0.98\na_varc,{top1}\n")
        return list(verdicts(processes.demo_results(tmp_path, device)).values())

    assert found(0.97) == [True, True]
    assert found(0.1) == [False, True]
    assert found(0.97, "another card") == [True, False]
    write_parquet(tokens / "2.parquet", columns, tokens_schema(2), {"images": 1, "device": "cpu"})
    assert found(0.97) == [True, False]


def test_the_benchmark_writes_a_line_for_each_precision(tmp_path, capsys):
    gpu.main(["--device", "cpu", "--quick", "--output", str(tmp_path / "new" / "gpu.md")])
    text = (tmp_path / "new" / "gpu.md").read_text()
    assert text in capsys.readouterr().out and f"torch {torch.__version__}" in text
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert [line[:2] for line in lines[2:]] == [["tiny", precision] for precision in gpu.PRECISIONS]
    assert all(len(line) == len(gpu.HEADS) for line in lines)


def test_figures_of_a_line():
    row = gpu.Row("m", "bf16", 400e3, 140.0, 0.5e-3, 0.05, 0.015, None, 5_000_000_000, 7_250_000_000)
    cells = dict(zip(gpu.HEADS, gpu.cells(row), strict=True))
    assert cells["product, TFLOP/s"] == "800" and cells["ms a pass"] == "0.5" and cells["TFLOP/s"] == "560"
    assert cells["share of product"] == "70%" and cells["adaptive, images/s"] == ""
    assert (cells["VARC, images/s"], cells["A-VARC+, images/s"]) == ("20", "66.7")
    assert (cells["peak GB"], cells["planned GB"]) == ("5.00", "7.25")


def test_thresholds_keep_the_wanted_share_of_candidates():
    per_scale = np.random.default_rng(0).standard_normal((50, 20, 4))
    thresholds = gpu.thresholds_that_keep(per_scale, (1.0, 0.5, 0.1))
    behind = per_scale.cumsum(2).max(1, keepdims=True) - per_scale.cumsum(2)
    left = (behind <= thresholds).cumprod(2).mean((0, 1))
    np.testing.assert_allclose(left, (1.0, 0.5, 0.1, 0.1), atol=1e-3)


def test_random_models_are_the_same_each_time_and_leave_the_generator_alone():
    torch.manual_seed(1)
    first = torch.rand(3)
    torch.manual_seed(1)
    a, b = (random_var(agreement.shapes(True)[1]).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(3), first)
    assert all(torch.equal(a[name], b[name]) for name in a)
