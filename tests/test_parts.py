"""Pieces of a result that a killed computation goes on from: each is computed once, and the result is the same."""

import functools
import importlib
import logging
import math
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from device.cases import ALL, FEW, IDS, IMAGES, LABELS, RIVALS, TOKENS, small_models
from snakemake_runs import ROOT

from varc import keep
from varc.baselines.family import Earlier, Images, family, seeded, settings
from varc.errors import InputError
from varc.explain.faithfulness import faithfulness
from varc.explain.judges import varc_judge
from varc.keep import Pace
from varc.models.arithmetic import Arithmetic
from varc.origin import begin_job
from varc.parts import Parts
from varc.scoring import batching, stepwise
from varc.scoring.guidance import score_guided
from varc.scoring.likelihood import computing, score, score_tokens
from varc.scoring.progressive import adaptive_scores
from varc.scoring.smoothing import encode_batches

CPU = torch.device("cpu")
GRADES = np.random.default_rng(0).random((2, 4, 4), np.float32)


class KilledError(Exception):
    pass


class Counting(Parts):
    """Counts the pieces that are computed, and is killed before the one after `most`."""

    def __init__(self, folder, most=math.inf, facts=()):
        super().__init__(folder / "scores.parquet", {"facts": facts})
        self.most, self.computed = most, 0

    def __call__(self, compute):
        def one():
            if self.computed >= self.most:
                raise KilledError
            self.computed += 1
            return compute()

        return super().__call__(one)


def all_scores(parts):
    vqvae, var = small_models(CPU)
    return score(var, vqvae.quantize, TOKENS[0], ALL, device=CPU, batch_size=7, keep=parts)


def scores_in_bfloat16(parts):
    vqvae, var = small_models(CPU)
    half = computing(var, Arithmetic("bf16"))
    return score(half, vqvae.quantize, TOKENS[0], ALL, device=CPU, batch_size=25, keep=parts)


def guided(parts):
    vqvae, var = small_models(CPU)
    more = {"device": CPU, "batch_size": 4, "keep": parts, "state": parts.state}
    return score_guided(var, vqvae.quantize, TOKENS[0], ALL, 1.5, **more)


def each_token(parts):
    vqvae, var = small_models(CPU)
    return score_tokens(var, vqvae.quantize, TOKENS[0], FEW, device=CPU, batch_size=5, keep=parts)


def adaptive(parts):
    vqvae, var = small_models(CPU)
    more = {"device": CPU, "images_per_batch": 2, "keep": parts}
    found = adaptive_scores(var, vqvae.quantize, list(TOKENS), ALL, np.array([6.0, 6.0, 8.0, 8.0]), **more)
    return np.concatenate([np.ravel(part) for part in found])


def encoded(parts):
    vqvae, known = small_models(CPU)[0], parts.rest()
    left = IMAGES[sum(len(batch) for batch, _ in known) :]
    batches = (left[i : i + 2] for i in range(0, len(left), 2))
    return encode_batches(vqvae, batches, CPU, known, parts)[0].numpy()


def faithful(parts):
    judge = varc_judge(*small_models(CPU), ALL[0], CPU, parts)
    given = {"ground": "blur", "steps": 3, "mode": "nearest", "seed": 0, "keep": parts}
    curves = [faithfulness(IMAGES[:2], GRADES, IDS, judge, curve=curve, **given) for curve in ("insertion", "deletion")]
    return np.concatenate(curves)


@functools.cache
def trained(name):
    """A rival after a few steps, and the scorings of its stages."""
    kind, (shape, training, stages) = family(name), RIVALS[name]
    model = seeded(kind.build, settings(kind.Shape, shape), 3, 0)
    kind.train(model, IMAGES, LABELS, settings(kind.Training, training), 0, lambda line: None)
    return kind, model.eval(), [settings(kind.Scoring, stage) for stage in stages]


def rival(name, parts):
    """The last stage of a rival after the one before."""
    kind, model, scorings = trained(name)
    images, earlier = Images(IMAGES, np.array(IDS, object), 0), None
    if len(scorings) > 1:
        earlier = Earlier(scorings[-2], kind.score(model, images, FEW, scorings[-2], None))
    return kind.score(model, images._replace(keep=parts), FEW, scorings[-1], earlier)


RUNS = {run.__name__: run for run in (all_scores, guided, each_token, adaptive, encoded, faithful)}
RUNS |= {name: functools.partial(rival, name) for name in ("vit", "resnet", "vae", "ibinn", "diffusion", "meanflow")}


@pytest.fixture
def small_batches(monkeypatch):
    for name in ("discriminative", "vae", "ibinn"):
        monkeypatch.setattr(f"varc.baselines.{name}.BATCH", 2)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_killed_before_any_piece_it_ends_with_the_same_bytes(run, tmp_path, always_saved, small_batches):
    whole = Counting(tmp_path / "whole")
    expected = run(whole)
    assert whole.computed > 2
    for most in range(whole.computed):
        folder = tmp_path / str(most)
        with pytest.raises(KilledError):
            run(Counting(folder, most))
        again = Counting(folder)
        assert np.array_equal(run(again), expected) and again.computed == whole.computed - most
        assert len(list(again.folder.iterdir())) == whole.computed
        again.remove()
        assert not list(folder.iterdir())


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_with_parts_the_numbers_are_those_without(run, tmp_path):
    def nothing(compute):
        return compute()

    nothing.state, nothing.rest = {}, list
    assert np.array_equal(run(Counting(tmp_path)), run(nothing))
    assert not list(tmp_path.iterdir())  # it took less than a minute


def test_a_computation_killed_twice_goes_on_twice(tmp_path, always_saved):
    for most in (3, 2):
        with pytest.raises(KilledError):
            guided(Counting(tmp_path, most))
    again = Counting(tmp_path)
    assert np.array_equal(guided(again), guided(Counting(tmp_path / "whole"))) and again.computed == 17 - 5


def test_what_another_computation_left_is_not_gone_on_from(tmp_path, always_saved, caplog):
    with pytest.raises(KilledError):
        all_scores(Counting(tmp_path, 3, facts="another"))
    with caplog.at_level(logging.INFO, "varc"):
        again = Counting(tmp_path)
    assert "of other inputs, settings, code or device; not gone on from" in caplog.text
    assert not again.folder.exists()
    all_scores(again)
    assert again.computed == 9


def test_other_inputs_params_or_code_are_another_computation(tmp_path, no_job):
    def fingerprint(rule="score", wildcards=(), params=(), tokens="a", code="b"):
        (tmp_path / "tokens").write_text(tokens)
        (tmp_path / "code").write_text(code)
        inputs, codes = [tmp_path / "tokens", tmp_path / "code"], [tmp_path / "code"]
        begin_job(rule, dict(wildcards), dict(params), map(str, inputs), map(str, codes))
        return Parts(tmp_path / "scores.parquet", {}).fingerprint

    same = [fingerprint(), fingerprint()]
    others = [
        fingerprint(rule="encode"),
        fingerprint(wildcards={"shard": "1"}),
        fingerprint(params={"stage": {"scales": 3}}),
        fingerprint(tokens="c"),
        fingerprint(code="c"),
    ]
    assert same[0] == same[1] and len({same[0], *others}) == 6


def test_a_damaged_file_and_those_after_it_are_not_gone_on_from(tmp_path, always_saved, caplog):
    expected = all_scores(Counting(tmp_path / "whole"))
    rng, seen = np.random.default_rng(0), 0
    for times in range(12):
        folder = tmp_path / str(times)
        with pytest.raises(KilledError):
            all_scores(Counting(folder, 5))
        path = folder / ".scores.parquet.parts" / "2.part"
        content = bytearray(path.read_bytes())
        if times == 0:
            content = content[: len(content) // 2]
        elif times == 1:
            content = bytearray()
        else:
            content[rng.integers(4, len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        caplog.clear()
        again = Counting(folder)
        found = all_scores(again)
        assert np.array_equal(found, expected)
        noticed = again.computed == 7 and "2.part: damaged; not gone on from" in caplog.text
        assert noticed or (times > 1 and again.computed == 4)  # some bytes of a Parquet file mean nothing
        seen += noticed
    assert seen > 8


def test_two_runs_at_once_do_not_mix(tmp_path, always_saved):
    """Their batches may differ, as free memory does; a third run goes on from one of them alone."""
    one, other = Counting(tmp_path), Counting(tmp_path)
    cut = iter([(one, 4), (other, 3), (one, 4), (other, 3), (one, 4), (one, 4), (other, 3)])
    for parts, size in cut:
        parts(functools.partial(np.full, size, len(parts.new)))
    sizes = [len(piece) for piece in Counting(tmp_path).rest()]
    assert sizes in ([3] * len(sizes), [4] * len(sizes)) and sizes


def test_the_size_of_the_batches_is_that_of_the_first_run(tmp_path, always_saved, monkeypatch):
    """Also where memory did not suffice then, and is larger now."""
    run = functools.partial(out_of_memory_above, 8)
    found = [(first, len(rows)) for first, rows in batching.in_batches(30, 20, run)]
    assert found == [(0, 5), (5, 5), (10, 5), (15, 5), (20, 5), (25, 5)]
    with pytest.raises(KilledError):
        list(batching.in_batches(30, 20, run, Counting(tmp_path, 2)))
    again = batching.in_batches(30, 13, np.arange, Counting(tmp_path))
    assert [(first, len(rows)) for first, rows in again] == found


def out_of_memory_above(size, first, end):
    if end - first > size:
        raise torch.OutOfMemoryError
    return np.arange(first, end)


def test_the_memory_of_an_adaptive_funnel_is_that_of_the_first_run(tmp_path, always_saved, monkeypatch):
    asked = []
    monkeypatch.setattr(stepwise, "budget", lambda device, free: asked.append(free) or (2**18, 2**18))
    expected = adaptive(Counting(tmp_path / "whole"))
    with pytest.raises(KilledError):
        adaptive(Counting(tmp_path, 2))
    monkeypatch.setattr(stepwise, "budget", lambda device, free: (2**12, 2**12))
    assert np.array_equal(adaptive(Counting(tmp_path)), expected)


def test_a_short_job_saves_nothing_and_a_long_one_at_its_pace(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(keep.time, "monotonic", lambda: now[0])
    parts = Counting(tmp_path)
    written = []
    for i in range(400):
        now[0] = float(i)
        parts(lambda: np.zeros(1))
        written.append(parts.files)
    assert [i for i in range(1, 400) if written[i] != written[i - 1]] == [60, 120, 180, 240, 300, 360]
    assert len(Counting(tmp_path).kept) == 361


def test_saving_takes_a_share_of_the_time_at_most(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(keep.time, "monotonic", lambda: now[0])
    pace, saved = Pace(), []
    while now[0] < 10_000:
        now[0] += 1
        if pace.due():
            saved.append(now[0])
            with pace.saving():
                now[0] += 30
    assert saved[:3] == [60, 60 + 30 + 3000, 60 + 2 * (30 + 3000)]


def test_a_full_disk_loses_nothing_but_what_is_kept(tmp_path, always_saved, monkeypatch, caplog):
    def full(*arguments):
        raise InputError("no space left")

    monkeypatch.setattr("varc.parts.write_part", full)
    parts = Counting(tmp_path)
    found = all_scores(parts)
    assert "what is done so far is not kept: no space left" in caplog.text
    monkeypatch.undo()
    assert np.array_equal(found, all_scores(Counting(tmp_path / "whole")))


def test_seconds_count_what_was_kept_too(tmp_path, always_saved, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    job, log = importlib.import_module("job"), logging.getLogger("varc")
    for pieces in (1, 2):
        parts = Parts(tmp_path / "features.parquet", {})
        with job.measured(CPU, 4, log, parts=parts) as record:
            record.setdefault("waited_seconds", 0.0)
            record["waited_seconds"] += 0.05  # of the sleep
            for _ in range(pieces):
                parts(lambda: time.sleep(0.2) or np.zeros(1))
    # of 0.2 s in the first run, less 0.05, and of as much in the second
    assert record["waited_seconds"] == pytest.approx(0.1)
    assert 0.3 <= record["seconds"] < 0.5
    assert record["images_per_second"] == 4 / record["seconds"]


def test_the_rate_of_progress_is_of_what_this_run_does(tmp_path, always_saved, monkeypatch, caplog):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    job = importlib.import_module("job")
    with pytest.raises(KilledError):
        all_scores(Counting(tmp_path, 8))
    monkeypatch.setattr(job, "PROGRESS_SECONDS", 1.0)
    now = [0.0]
    monkeypatch.setattr(job.time, "monotonic", lambda: now[0])
    parts = Counting(tmp_path)
    report = job.progress(logging.getLogger("varc"), parts)
    with caplog.at_level(logging.INFO, "varc"):
        for i in range(1, 9):
            parts(lambda: None)
            report(i, 10)
        now[0] = 2.0
        parts(lambda: np.zeros(1))
        report(9, 10)
    assert caplog.messages[-1] == "9 of 10 pairs, 0.5 pairs/s, ETA 2 s"


def test_a_file_is_sealed_and_says_what_it_is_made_from(tmp_path, always_saved):
    with pytest.raises(KilledError):
        all_scores(Counting(tmp_path, 1))
    path: Path = tmp_path / ".scores.parquet.parts" / "0.part"
    assert b"fingerprint" in pq.read_schema(path).metadata[b"varc"]
