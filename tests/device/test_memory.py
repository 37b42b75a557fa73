"""How much of a GPU's memory scoring takes, on one that is pretended, and what happens where that does not suffice."""

import copy

import numpy as np
import pytest
import torch
from device.pretend import CUDA, PretendCuda

from varc.baselines import convnet
from varc.baselines.family import Images, family, seeded, settings
from varc.data.tensors import to_input
from varc.device import free_memory
from varc.models.arithmetic import Arithmetic
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.scoring import likelihood
from varc.scoring.batching import GPU_SHARE, MOST_PAIRS, pairs_per_batch, pass_bytes
from varc.scoring.guidance import score_guided
from varc.scoring.likelihood import computing, score
from varc.scoring.progressive import adaptive_scores
from varc.scoring.smoothing import encode, tokenize

CPU = torch.device("cpu")
PATCH_NUMS = (1, 2, 3, 4)
MIB = 2**20
NEVER = np.full(len(PATCH_NUMS), np.inf)


def models(classes, depth=3, width=64):
    """A VAR of random weights, and a quantiser."""
    torch.manual_seed(0)
    var = VAR(VARConfig(depth, width, 2, classes, 32, 8, PATCH_NUMS)).eval().requires_grad_(False)
    for parameter in var.parameters():
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return var, MultiScaleQuantizer(32, 8, PATCH_NUMS).eval().requires_grad_(False)


def vqvae_model():
    return VQVAE(VQVAEConfig(PATCH_NUMS, 16, (1, 2), 1, 8, 32, 8)).eval().requires_grad_(False)


def question(images, classes):
    """Tokens (N, L) of random images, and all classes as their candidates."""
    tokens = np.random.default_rng(0).integers(0, 32, (images, 30)).astype(np.uint16)
    return tokens, np.tile(np.arange(classes, dtype=np.int32), (images, 1))


def scored(var, quantizer, tokens, candidates, device):
    return score(var, quantizer, tokens, candidates, device=device)


def guided(var, quantizer, tokens, candidates, device):
    return score_guided(var, quantizer, tokens, candidates, 1.5, device=device)


def adaptive(var, quantizer, tokens, candidates, device):
    return adaptive_scores(var, quantizer, [tokens], candidates, NEVER, device=device).per_step


def test_free_memory_counts_what_the_allocator_holds_unused():
    with PretendCuda(total=100 * MIB, used=30 * MIB, cached=50 * MIB) as gpu:
        held = torch.zeros(MIB, device=CUDA)  # of 4 MiB
        assert gpu.mem_get_info()[0] == 16 * MIB
        assert free_memory(CUDA) == 66 * MIB
        del held
        assert free_memory(CUDA) == 70 * MIB


def test_pairs_by_free_memory_as_by_hand():
    """A d16 and 680 tokens: 24 x 1,024 float32 a token."""
    config = VARConfig(16, 1024, 16, 1000, 4096, 32, (1, 2, 3, 4, 5, 6, 8, 10, 13, 16))
    assert pass_bytes(config, 680) == 680 * 24 * 1024 * 4
    with PretendCuda(total=80 * 2**30, cached=30 * 2**30):
        assert int(GPU_SHARE * free_memory(CUDA) / pass_bytes(config, 680)) == 642


@pytest.mark.parametrize(("length", "pairs"), [(30, 2**18 // 30), (5, 2**18 // 5), (1, 65534)])
def test_a_batch_has_at_most_so_many_tokens_and_pairs(length, pairs):
    var, _ = models(2)
    with PretendCuda():
        assert pairs_per_batch(var, length, CUDA) == pairs
    with PretendCuda(total=pass_bytes(var.config, length) * 14):
        assert pairs_per_batch(var, length, CUDA) == 7
    with PretendCuda(total=1):
        assert pairs_per_batch(var, length, CUDA) == 1


def test_no_batch_has_more_pairs_than_a_grid_of_cuda(monkeypatch):
    sizes = []

    def counted(var, tables, x, tokens, rows):
        sizes.append(len(x))
        return torch.zeros(tokens.shape)

    var, quantizer = models(2)
    monkeypatch.setattr(likelihood, "pair_log_prob", counted)
    tokens, candidates = question(35_000, 2)
    score(var, quantizer, tokens[:, :1], candidates, device=CPU, batch_size=70_000)
    assert sizes == [MOST_PAIRS, 70_000 - MOST_PAIRS]


CASES = {  # what is scored, images, classes, MiB that are free
    "score": (scored, 4, 60, 8),
    "guided": (guided, 2, 120, 8),
    "adaptive, images that do not fit together": (adaptive, 8, 20, 8),
    "adaptive, an image that does not fit": (adaptive, 2, 120, 8),
    "adaptive, a pair that hardly fits": (adaptive, 1, 12, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_scoring_stays_within_the_free_memory(case):
    run, images, classes, free = CASES[case]
    var, quantizer = models(classes)
    asked = question(images, classes)
    expected = run(var, quantizer, *asked, CPU)
    with PretendCuda() as gpu:
        var, quantizer = var.to(CUDA), quantizer.to(CUDA)
        before = gpu.peak = gpu.live
        gpu.total = before + free * MIB
        found = run(var, quantizer, *asked, CUDA)
        assert 0.2 < (gpu.peak - before) / (free * MIB) < 0.8
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("run", [scored, guided, adaptive])
def test_memory_that_does_not_suffice_shrinks_the_batches(run, caplog):
    """The memory that is free by the driver is not to be had."""
    var, quantizer = models(40)
    asked = question(3, 40)
    expected = run(var, quantizer, *asked, CPU)
    with PretendCuda() as gpu:
        var, quantizer = var.to(CUDA), quantizer.to(CUDA)
        gpu.capacity = gpu.live + 3 * MIB
        found = run(var, quantizer, *asked, CUDA)
    assert np.abs(found - expected).max() < 1e-3
    assert caplog.messages and all(message.startswith("out of memory: ") for message in caplog.messages)
    with PretendCuda() as gpu, pytest.raises(torch.OutOfMemoryError):
        var, quantizer = models(40)
        var, quantizer = var.to(CUDA), quantizer.to(CUDA)
        gpu.capacity = gpu.live + MIB // 4
        run(var, quantizer, *asked, CUDA)
    assert len(caplog.messages) < 60


def encoded(images, ids):
    vqvae = vqvae_model()
    return lambda device: encode(vqvae.to(device), images, 16, device)


def tokenized(images, ids):
    features, quantizer = torch.zeros(len(images), 8, 4, 4), vqvae_model().quantize
    noisy = {"sample": 1, "sigma": 0.5, "seed": 0, "batch_size": 16}
    return lambda device: tokenize(quantizer.to(device), features, ids, device=device, **noisy)


def rival(name, shape, scoring):
    kind = family(name)
    model = seeded(kind.build, settings(kind.Shape, shape), 3, 0).eval()

    def made(images, ids):
        asked = Images(images, np.array(ids, object), 0), np.tile(np.arange(3, dtype=np.int32), (len(images), 1))
        return lambda device: kind.score(model.to(device), *asked, settings(kind.Scoring, scoring), None)

    return made


DIT = {"image_size": 8, "patch_size": 4, "width": 16, "depth": 1, "heads": 2, "channels": 1}
WHOLE_BATCH = {  # what computes on images, and how many a batch of it has
    "encode": (encoded, 16),
    "tokenize": (tokenized, 16),
    "diffusion": (rival("diffusion", DIT, {"draws": 2}), 1),
    "meanflow": (rival("meanflow", DIT, {"draws": 2}), 1),
    "resnet": (rival("resnet", {"image_size": 8, "widths": [8, 16], "depths": [1, 1]}, {}), 64),
}


@pytest.mark.parametrize("what", WHOLE_BATCH)
def test_four_times_as_many_images_take_no_more_memory(what):
    make, batch = WHOLE_BATCH[what]
    images = np.random.default_rng(0).integers(0, 256, (4 * batch, 8, 8, 3)).astype(np.uint8)
    peaks = []
    for number in (batch, 4 * batch):
        run = make(images[:number], [str(i) for i in range(number)])
        with PretendCuda() as gpu:
            run(CUDA)
            peaks.append(gpu.peak)
    assert peaks[0] == peaks[1]


def test_the_predictions_of_a_network_take_as_much_memory_for_any_number_of_images(monkeypatch):
    monkeypatch.setattr(convnet, "PREDICTED", 16)
    images = to_input(np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3)).astype(np.uint8))
    peaks = []
    for number in (16, 64):
        net = convnet.convnet(convnet.ConvNetConfig(8, 3), 0)
        whole = convnet.convnet_predictions(net, images[:number], [0, 2])
        with PretendCuda() as gpu:
            net, shown = net.to(CUDA), images[:number].to(CUDA)
            before = gpu.live
            assert (convnet.convnet_predictions(net, shown, [0, 2]) == whole).all()
            peaks.append(gpu.peak - before)
    assert peaks[0] == peaks[1]


def linear_layers(var):
    return [part for block in var.blocks for part in (block.attn, block.ffn)]


def test_bf16_copies_the_linear_layers_of_the_blocks_alone():
    var, _ = models(10)
    with PretendCuda() as gpu:
        var = var.to(CUDA)
        before = gpu.live
        gpu.peak = before
        half = computing(var, Arithmetic("bf16"))
        tensors = [t for part in linear_layers(var) for t in (*part.parameters(), *part.buffers())]
        copied = sum(-(-t.numel() * 2 // 512) * 512 for t in tensors)
        assert gpu.peak == gpu.live == before + copied
        assert {t.dtype for part in linear_layers(half) for t in part.state_dict().values()} == {torch.bfloat16}
        assert {t.dtype for t in var.parameters()} == {torch.float32}


def test_bf16_shares_all_else():
    var, _ = models(10)
    half, whole = computing(var, Arithmetic("bf16")), copy.deepcopy(var)
    for part in linear_layers(whole):
        part.bfloat16()
    own = dict(var.state_dict())
    for name, tensor in half.state_dict().items():
        inside = name.startswith("blocks.") and name.split(".")[2] in ("attn", "ffn")
        assert (tensor.data_ptr() == own[name].data_ptr()) is not inside, name
    assert all(torch.equal(t, whole.state_dict()[name]) for name, t in half.state_dict().items())
    assert {name: t.dtype for name, t in half.state_dict().items()} == {
        name: t.dtype for name, t in whole.state_dict().items()
    }
    assert computing(var, Arithmetic("float32")) is var
