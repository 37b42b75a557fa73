from dataclasses import replace

import numpy as np
import pytest
import torch

from varc.baselines.costs import stage_costs
from varc.baselines.family import family, settings
from varc.planning import Speed
from varc.rates import rivals
from varc.rates.rivals import measure_stage

DIT = {"image_size": 8, "patch_size": 4, "width": 16, "depth": 9, "heads": 2, "channels": 1}
CASES = {
    "diffusion": (DIT, [{"draws": 2, "keep": 3}, {"draws": 5}]),
    "meanflow": (DIT, [{"draws": 2}]),
    "ibinn": ({"image_size": 8, "blocks": [1, 1], "width": 4, "dense": 8}, [{}]),
    "vae": ({"image_size": 8, "hidden": 8, "latent": 2, "sigma": 0.4}, [{"samples": 3}]),
    "knn": ({"image_size": 8, "memory": 30}, [{"k": 3}]),
    "nearest_mean": ({"image_size": 8}, [{}]),
    "logistic_regression": ({"image_size": 8}, [{}]),
    "vit": ({"image_size": 8, "patch_size": 4, "width": 16, "depth": 1, "heads": 2}, [{}]),
    "resnet": ({"image_size": 8, "widths": [8, 16], "depths": [1, 1]}, [{}]),
}


@pytest.mark.parametrize("name", CASES)
def test_untrained_stages_score_as_many_images_as_are_timed(name, monkeypatch):
    """The speed is that of the cost of the last stage, at the candidates and blocks that it is measured with."""
    kind, (shape, stages) = family(name), CASES[name]
    shape, shown = settings(kind.Shape, shape), []
    shallow = replace(shape, depth=min(shape.depth, 2)) if hasattr(shape, "depth") else shape

    def score(model, images, candidates, scoring, earlier):
        found = original(model, images, candidates, scoring, earlier)
        assert found.shape == candidates.shape and np.isfinite(found).all()
        shown.append(len(images.pixels))
        return found

    original = kind.score
    monkeypatch.setattr(kind, "score", score)
    monkeypatch.setattr(rivals, "speed", lambda gflops, work, device: Speed(work(3) or gflops))
    monkeypatch.setattr(rivals, "MOST_CANDIDATES", 4)
    monkeypatch.setattr(rivals, "MOST_DEPTH", 2)
    found = measure_stage(kind, shape, 5, stages, 5, torch.device("cpu"))
    assert shown == [3]
    before = settings(kind.Scoring, stages[0], but="keep") if len(stages) > 1 else None
    assert found.gflops_per_second == kind.cost(shallow, 5, settings(kind.Scoring, stages[-1]), 4, before).gflops


def test_stages_cost_what_their_candidates_and_new_draws_take():
    kind, (shape, stages) = family("diffusion"), CASES["diffusion"]
    first, second = stage_costs(kind, settings(kind.Shape, shape), 10, stages, 10)
    assert (first.passes, second.passes) == (10 * 2, 3 * 3)
    assert second.gflops == pytest.approx(first.gflops * 9 / 20)
