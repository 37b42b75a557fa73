"""The planned memory of fine-tuning against what lives while it runs.

Counted on the CPU, whose fused attention keeps no product of queries and keys either, as the memory-efficient and
cuDNN's kernels on a GPU. CUDA's autocast differs from the CPU's in one operator of the model: norms come in float32.
"""

import weakref

import numpy as np
import pytest
import torch
import torch.distributed as dist
import yaml
from snakemake_runs import ROOT
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from varc.costs.closed_form import Shape
from varc.costs.memory import finetune_bytes, has_reference, labels_per_image
from varc.models.architectures import ARCHITECTURES, PATCH_NUMS_256
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig
from varc.training import finetune as module
from varc.training.cca import cca_loss
from varc.training.finetune import distributed, finetune, log_likelihood

CPU = torch.device("cpu")
SMALL = VARConfig(4, 128, 4, 10, 256, 32, (1, 2, 3, 4))
LONG = VARConfig(2, 128, 2, 10, 512, 32, PATCH_NUMS_256)
CARD = 79 * 2**30  # what an 80-GB card gives


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that live, as CUDA's allocator hands them out: in blocks of 512."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.known = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor.untyped_storage())
        return out

    def add(self, storage):
        key = storage._cdata
        if key not in self.known:
            self.known[key] = -(-storage.nbytes() // 512) * 512
            self.live += self.known[key]
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self.free, key)

    def free(self, key):
        self.live -= self.known.pop(key)


@pytest.fixture
def norms_as_on_cuda(monkeypatch):
    plain = torch.linalg.vector_norm

    def vector_norm(x, *args, dtype=None, **more):
        return plain(x, *args, dtype=torch.float32 if torch.is_autocast_enabled("cpu") else dtype, **more)

    monkeypatch.setattr(torch.linalg, "vector_norm", vector_norm)
    monkeypatch.setattr(module, "empty_cache", lambda *sizes: None)  # it lies in the host's memory


WAYS = {
    "cca": {"beta": 0.02, "lambda": 50.0},
    "cross_entropy": {},
    "discriminative": {"beta": 0.2, "gen": 0.2, "negatives": 3},
}


def settings(precision, way, batch_size, accumulate):
    found = {"steps": 2, "lr": 1e-4, "precision": precision, "batch_size": batch_size, "accumulate": accumulate}
    return found | WAYS[way]


def planned_bytes(config, images, precision, way):
    given = WAYS[way]
    sequences, classes = images * labels_per_image(given), getattr(config, "num_classes", 1000)
    return finetune_bytes(config, sequences, precision, has_reference(given), classes)


def peak(config, images, precision, way, accumulate=2):
    """Of two steps of `finetune`, in micro-batches of so many images."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, config.vocab_size, (1, 32, config.num_tokens)).astype(np.uint16)
    labels = rng.integers(0, config.num_classes, 32)
    quantizer = MultiScaleQuantizer(config.vocab_size, config.z_channels, config.patch_nums).requires_grad_(False)
    chosen = settings(precision, way, images * accumulate, accumulate)
    with Live() as live:
        finetune(VAR(config), quantizer, tokens, labels, chosen, seed=0, device=CPU, report=lambda line: None)
    return live.peak


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("config", "images"), [(SMALL, 8), (SMALL, 32), pytest.param(LONG, 4, marks=pytest.mark.long)])
def test_the_plan_is_what_fine_tuning_takes(norms_as_on_cuda, config, images, precision, way):
    planned = planned_bytes(config, images, precision, way)
    assert 0.995 < planned / peak(config, images, precision, way) < 1.1


def test_the_plan_is_not_below_a_step_without_micro_batches(norms_as_on_cuda):
    """Gradients are not there yet when activations are at their most."""
    assert planned_bytes(SMALL, 8, "float32", "cca") > peak(SMALL, 8, "float32", "cca", accumulate=1)


def step_peak(depth, images, precision):
    """Of two micro-batches by CCA at a public shape, and AdamW's step: on tensors without content."""
    config = VARConfig(depth, 64 * depth, depth, 1000, 4096, 32, PATCH_NUMS_256)
    amp = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    with FakeTensorMode(), Live() as live:
        var, reference = VAR(config), VAR(config).requires_grad_(False)
        optimizer = torch.optim.AdamW(var.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            for _ in range(2):
                label, targets = torch.zeros(2 * images, dtype=torch.int64), torch.zeros(2 * images, 680).long()
                inputs = (torch.zeros(2 * images, 679, 32), label)
                with torch.no_grad():
                    expected = log_likelihood(reference, targets, *inputs, amp)
                gaps = (log_likelihood(var, targets, *inputs, amp) - expected).chunk(2)
                cca_loss(*gaps, torch.ones(images).bool(), 0.02, 50.0).backward()
            optimizer.step()
    return live.peak


@pytest.mark.long
@pytest.mark.parametrize(("depth", "images", "precision"), [(16, 32, "bf16"), (16, 4, "float32"), (30, 2, "bf16")])
def test_the_plan_holds_at_public_shapes(norms_as_on_cuda, depth, images, precision):
    planned = planned_bytes(Shape.of(ARCHITECTURES[f"var_d{depth}"]), images, precision, "cca")
    assert 1.0 <= planned / step_peak(depth, images, precision) < 1.01


def test_gradients_of_several_processes_exist_once():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with Live() as live:
            var = VAR(SMALL)
            weights = live.live
            wrapped = distributed(var)
            for _ in range(3):  # buffers are laid out anew after the first
                var.zero_grad()
                wrapped(torch.zeros(1).long(), torch.zeros(1, 29, 32)).sum().backward()
            assert 1.95 * weights < live.live < 2.05 * weights
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("name", ["cca_imagenet", "incremental_imagenet"])
def test_the_public_configs_fit_one_card_and_serve_eight(name):
    chosen = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())["models"]["cca"]["cca"]
    d16 = Shape.of(ARCHITECTURES["var_d16"])
    images = chosen["batch_size"] // chosen["accumulate"]
    assert planned_bytes(d16, images, chosen["precision"], "cca") < 0.9 * CARD
    assert planned_bytes(d16, 2 * images, chosen["precision"], "cca") > CARD  # no fewer micro-batches would do
    assert chosen["batch_size"] % (8 * chosen["accumulate"]) == 0
