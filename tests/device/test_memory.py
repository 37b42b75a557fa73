"""Batches on a GPU fit its memory, and where it does not suffice they are halved: on the pretended GPU."""

import numpy as np
import pytest
import torch
from device.pretend import CUDA, PretendCuda

from varc.device import free_memory
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import MultiScaleQuantizer
from varc.scoring import memory
from varc.scoring.guidance import score_guided
from varc.scoring.likelihood import in_precision, pairs_per_batch, score
from varc.scoring.memory import most_pairs
from varc.scoring.progressive import adaptive_scores

CPU = torch.device("cpu")
PATCH = (1, 2, 3, 4)
CLASSES = 100
GIB, MIB = 2**30, 2**20


def models():
    torch.manual_seed(0)
    var = VAR(VARConfig(4, 64, 2, CLASSES, 32, 8, PATCH)).eval().requires_grad_(False)
    for p in var.parameters():
        if p.ndim >= 2:
            p.data = torch.randn(p.shape) * p.shape[-1] ** -0.5
    return var, MultiScaleQuantizer(32, 8, PATCH).eval().requires_grad_(False)


TOKENS = np.random.default_rng(0).integers(0, 32, (4, 30)).astype(np.uint16)
CANDIDATES = np.tile(np.arange(CLASSES, dtype=np.int32), (4, 1))
NEVER = np.full(len(PATCH), np.inf)


def scored(device):
    var, quantizer = models()
    return score(var.to(device), quantizer.to(device), TOKENS, CANDIDATES, device=device)


def guided(device):
    var, quantizer = models()
    return score_guided(var.to(device), quantizer.to(device), TOKENS, CANDIDATES, 1.5, device=device)


def adaptive(device):
    """With thresholds that drop nothing, so that keys and values of all candidates are wanted to the end."""
    var, quantizer = models()
    return adaptive_scores(
        var.to(device), quantizer.to(device), [TOKENS], CANDIDATES, NEVER, device=device
    ).log_likelihood


WORK = {"score": scored, "guided": guided, "adaptive": adaptive}


def taken(device):
    """Bytes that the models take, which is there before any batch."""
    with PretendCuda() as gpu:
        var, quantizer = models()
        var.to(device), quantizer.to(device)
        return gpu.live


@pytest.mark.parametrize("name", WORK)
def test_the_peak_is_below_the_memory_there_is_and_results_are_those_of_plenty(name):
    expected, own = WORK[name](CPU), taken(CUDA)
    for memory_there in (4 * MIB, 16 * MIB, GIB):
        with PretendCuda(total=own + memory_there, capacity=own + memory_there) as gpu:
            found = WORK[name](CUDA)
        assert gpu.peak <= own + memory_there
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", WORK)
def test_batches_are_halved_where_less_is_there_than_the_driver_says(name, caplog):
    expected, own = WORK[name](CPU), taken(CUDA)
    with PretendCuda(total=GIB, capacity=own + 2 * MIB):
        found = WORK[name](CUDA)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert any("pairs a batch from here on" in message for message in caplog.messages)


def test_where_not_even_one_pair_fits_it_is_an_error():
    own = taken(CUDA)
    with PretendCuda(total=GIB, capacity=own + 300_000), pytest.raises(torch.OutOfMemoryError):
        scored(CUDA)


def test_free_memory_counts_what_the_allocator_holds_unused():
    with PretendCuda(total=10 * GIB, used=GIB) as gpu:
        held = torch.zeros(2**20, device=CUDA)
        assert free_memory(CUDA) == 9 * GIB - gpu.live
        del held
    with PretendCuda(total=10 * GIB, used=GIB, cached=3 * GIB):
        assert torch.cuda.mem_get_info(CUDA)[0] == 6 * GIB
        assert free_memory(CUDA) == 9 * GIB


def test_a_batch_grows_with_the_free_memory_up_to_the_bounds_of_kernels(monkeypatch):
    var, _ = models()
    per_pair = 4 * 30 * 24 * 64
    with PretendCuda(total=1000 * per_pair):
        assert pairs_per_batch(var, 30, CUDA) == 500
    with PretendCuda(total=1000 * per_pair, cached=400 * per_pair):
        assert pairs_per_batch(var, 30, CUDA) == 500  # what the allocator holds counts
    with PretendCuda(total=80 * GIB):
        assert pairs_per_batch(var, 30, CUDA) == 2**18 // 30 == most_pairs(30)
        assert pairs_per_batch(var, 1, CUDA) == most_pairs(1) == 65_534
    assert most_pairs(680) * 680 <= 2**18 and most_pairs(10**9) == 1


def test_half_precision_shares_all_but_the_blocks_linear_layers():
    var, _ = models()
    half = in_precision(var, "bf16")
    shared = {name: tensor.data_ptr() for name, tensor in var.state_dict().items()}
    for name, tensor in half.state_dict().items():
        if ".attn." in name or ".ffn." in name:
            assert tensor.dtype == torch.bfloat16 and torch.equal(tensor, var.state_dict()[name].bfloat16())
        else:
            assert tensor.data_ptr() == shared[name] and tensor.dtype == var.state_dict()[name].dtype
    assert {p.dtype for p in var.parameters()} == {torch.float32}


def test_half_precision_takes_half_of_the_blocks_more_and_no_whole_copy():
    with PretendCuda() as gpu:
        var = models()[0].to(CUDA)
        linear = sum(p.numel() * 4 for name, p in var.named_parameters() if ".attn." in name or ".ffn." in name)
        before = gpu.peak = gpu.live
        half = in_precision(var, "bf16")
        assert gpu.peak - before <= linear / 2 + 512 * len(list(half.parameters()))


def test_batches_are_in_order_and_cover_all():
    assert list(memory.in_batches(7, 3, lambda first, end: range(first, end))) == [
        (0, range(0, 3)),
        (3, range(3, 6)),
        (6, range(6, 7)),
    ]
