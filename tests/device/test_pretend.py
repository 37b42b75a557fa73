"""The pretended GPU refuses what CUDA refuses, and counts: what it lets pass, no test finds."""

import copy

import pytest
import torch
from device.pretend import BLOCK, CUDA, PretendCuda
from torch import nn

MIB = 2**20


@pytest.fixture
def gpu():
    with PretendCuda() as gpu:
        yield gpu


HOST = torch.arange(4.0)
MIXED = {
    "sum": lambda x: x + HOST,
    "in place": lambda x: HOST.add_(x),
    "product": lambda x: x[None] @ HOST[:, None],
    "joined": lambda x: torch.cat([x, HOST]),
    "stacked with a scalar": lambda x: torch.stack([x[0], HOST[0]]),
    "mask": lambda x: x.masked_fill(HOST > 1, 0.0),
    "chosen": lambda x: torch.where(x > 1, x, HOST),
    "host indexed": lambda x: HOST[x.long()],
    "put": lambda x: x.index_put_((torch.arange(2),), HOST[:2]),
    "layer": lambda x: nn.Linear(4, 2)(x),
    "attention": lambda x: nn.functional.scaled_dot_product_attention(*[x.view(1, 1, 4, 1)] * 2, HOST.view(1, 1, 4, 1)),
    "gradient": lambda x: nn.functional.mse_loss(x.clone().requires_grad_(), HOST),
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("inference", [False, True])
def test_tensors_of_both_devices_are_refused(gpu, name, inference):
    x = HOST.clone().to("cuda")
    with torch.inference_mode(inference), pytest.raises(RuntimeError, match="same device"):
        MIXED[name](x)


def test_scalars_and_indices_of_the_host_are_taken(gpu):
    x = HOST.to("cuda")
    assert (x * torch.tensor(2.0)).tolist() == [0, 2, 4, 6]
    assert x[torch.tensor([3, 0])].tolist() == [3, 0] and x[[1, 2]].tolist() == [1, 2]
    assert sum(gpu.copies.values()) == 3  # x, and two indices


def test_numpy_is_refused(gpu):
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        HOST.to("cuda").numpy()


@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda"), CUDA])
def test_what_is_made_on_the_gpu_is_there(gpu, device):
    made = [torch.zeros(2, device=device), torch.tensor([1.0], device=device), torch.ones(2).to(device)]
    made += [nn.Linear(2, 1).to(device).weight, torch.ones(2).to(device).new_tensor([3])]
    assert all(t.device == CUDA and t.is_cuda for t in made)
    assert not torch.zeros(2, device=device).cpu().is_cuda


def test_waits_copies_and_launches_are_counted(gpu):
    x = HOST.to("cuda")
    y = (x.view(2, 2).T + 1) * 2
    assert dict(gpu.launches) == {"add": 1, "mul": 1}  # views are none
    assert sum(gpu.copies.values()) == 1 and not gpu.syncs
    y.sum().item(), y[y > 3], y.cpu(), (y > 3).nonzero()
    assert sum(gpu.syncs.values()) == 4


def test_memory_is_held_by_tensors_and_not_by_views(gpu):
    x = torch.zeros(MIB, device="cuda")
    views = [x[1:], x.view(2, -1), x.detach()]
    assert gpu.live == torch.cuda.memory_allocated() == 4 * MIB
    y = x + 1
    assert gpu.live == gpu.peak == 8 * MIB
    del x, views
    assert (gpu.live, gpu.peak) == (4 * MIB, 8 * MIB)
    del y
    assert gpu.live == 0
    one = torch.zeros(1, device="cuda")
    assert gpu.live == BLOCK and one.numel() == 1


def test_memory_that_the_allocator_holds_unused_is_not_the_drivers_to_give():
    with PretendCuda(total=80 * MIB, used=10 * MIB, cached=20 * MIB) as gpu:
        x = torch.zeros(MIB, device="cuda")
        assert torch.cuda.mem_get_info() == (46 * MIB, 80 * MIB)
        assert torch.cuda.memory_reserved() == 24 * MIB and torch.cuda.memory_allocated() == x.numel() * 4
        stats = torch.cuda.memory_stats()
        assert stats["reserved_bytes.all.current"] - stats["allocated_bytes.all.current"] == gpu.cached
        torch.cuda.empty_cache()
        assert torch.cuda.mem_get_info() == (66 * MIB, 80 * MIB) and torch.cuda.memory_reserved() == 4 * MIB


def test_more_than_the_capacity_is_out_of_memory():
    with PretendCuda(capacity=10 * MIB) as gpu:
        x = torch.zeros(2 * MIB, device="cuda")
        with pytest.raises(torch.OutOfMemoryError):
            x + 1
        assert gpu.live == 8 * MIB
        del x
        assert len(torch.zeros(2 * MIB, device="cuda")) == 2 * MIB


def test_a_copy_of_a_model_has_its_own_memory(gpu):
    model = nn.Linear(4, 4).to("cuda")
    before, copied = gpu.live, copy.deepcopy(model)
    assert gpu.live == 2 * before
    with torch.no_grad():
        copied.weight.zero_()
    assert isinstance(copied.weight, nn.Parameter) and copied.weight.requires_grad
    assert model.weight.abs().sum() > 0


def test_gradients_and_forward_derivatives_are_the_cpus(gpu):
    def function(x, y):
        return (x.sin() * y).cumsum(0) / y.sum()

    x, y, v = HOST + 1, HOST.square() + 2, HOST - 1
    expected = torch.func.jvp(function, (x, y), (v, y))
    found = torch.func.jvp(function, tuple(t.to("cuda") for t in (x, y)), tuple(t.to("cuda") for t in (v, y)))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.cpu(), other, atol=1e-6)
    slopes = []
    for device in ("cpu", "cuda"):
        at = x.to(device).detach().requires_grad_()
        function(at, y.to(device)).sum().backward()
        slopes.append(at.grad.cpu())
    assert torch.equal(*slopes)


def test_after_the_block_the_gpu_is_gone():
    seen = torch.cuda.is_available()
    with PretendCuda():
        x = HOST.to("cuda")
        assert torch.cuda.is_available()
    assert torch.cuda.is_available() == seen
    with pytest.raises(RuntimeError, match="used after it"):
        x + 1
