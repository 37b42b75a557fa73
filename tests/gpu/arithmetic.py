"""The card, the build of torch, and whether float32 is float32 there.

A relative error is ||found - exact|| / ||exact||, with exact in float64. Float32 rounds to 24 bits: a sum of n products
is off by some 2^-24 sqrt(n), as the roundings of n partial sums add up at random. TensorFloat-32 rounds the factors
to 11 bits: off by some 2^-12, whatever n is. The bound is the geometric mean, some 10 times away from either.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from card import driver_cuda, environment, number
from outcome import Result, Setup, at_most, needs_card
from torch import Tensor

from varc.scoring.attention import fused


class Operation(NamedTuple):
    """An operation that TensorFloat-32 would change. terms: products in each sum."""

    run: Callable[..., Tensor]
    inputs: tuple[tuple[int, ...], ...]
    terms: int
    switched: bool  # by torch's flags


OPERATIONS = {
    "product": Operation(torch.matmul, ((1024, 1024), (1024, 1024)), 1024, True),
    "linear layer": Operation(F.linear, ((1024, 1024), (1024, 1024), (1024,)), 1024, True),
    "convolution": Operation(lambda x, w: F.conv2d(x, w, padding=1), ((4, 160, 32, 32), (160, 160, 3, 3)), 1440, True),
    "attention": Operation(fused, ((2, 16, 256, 64), (2, 16, 680, 64), (2, 16, 680, 64)), 680, False),
}


def build(setup: Setup) -> Iterator[Result]:
    """The driver can run the build's CUDA, and the build has code for the card."""
    needs_card(setup)
    known, built = environment(setup.device), tuple(map(int, str(torch.version.cuda).split(".")))
    figure = f"{known['card']}; driver {known['driver']}"
    yield Result("driver", driver_cuda()[0] >= built[0], figure, f"for CUDA {built[0]} or later")
    capability, codes = torch.cuda.get_device_capability(setup.device), torch.cuda.get_arch_list()
    figure = f"torch {torch.__version__} for CUDA {number(built)} on {' '.join(codes)}"
    yield Result("build", has_code(codes, capability), figure, f"code for {number(capability)}")


def has_code(codes: list[str], capability: tuple[int, int]) -> bool:
    """Whether a build for these architectures runs on a card: compiled code runs on later minors of its major, PTX
    (compute_*) on all later cards; a letter at the end (sm_90a) binds to the very card."""
    for code in codes:
        kind, _, digits = code.partition("_")
        plain = digits.rstrip("af")
        made_for = int(plain[:-1]), int(plain[-1])
        later = plain == digits and made_for <= capability and (kind == "compute" or made_for[0] == capability[0])
        if made_for == capability or later:
            return True
    return False


def sentinels(setup: Setup) -> Iterator[Result]:
    """Products, convolutions and attention in float32; and what TensorFloat-32 would give, which must show."""
    for name, operation in OPERATIONS.items():
        inputs = example(operation)
        exact = exactly(operation, inputs)
        bound = between(operation.terms)
        yield at_most(f"{name} in float32", error(operation.run(*on(setup, inputs)), exact), bound)
        noticed = error(with_tf32(setup, operation, inputs), exact)
        yield Result(f"{name} in TensorFloat-32", noticed > bound, f"{noticed:.2g}", f"more than {bound:.2g}")


def example(operation: Operation) -> list[Tensor]:
    """Standard normal inputs, scaled such that the logits of attention are standard normal."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator) for shape in operation.inputs]
    if operation.run is fused:
        inputs[0] /= inputs[0].shape[-1] ** 0.5
    return inputs


def exactly(operation: Operation, inputs: list[Tensor]) -> Tensor:
    """The result in float64, on the CPU."""
    return operation.run(*(x.double() for x in inputs))


def on(setup: Setup, inputs: list[Tensor]) -> list[Tensor]:
    return [x.to(setup.device) for x in inputs]


def error(found: Tensor, exact: Tensor) -> float:
    """The relative error."""
    return float((found.cpu().double() - exact).norm() / exact.norm())


def between(terms: int) -> float:
    """A bound between float32's error and TensorFloat-32's: sqrt(2^-24 sqrt(terms) 2^-12)."""
    return 2.0**-18 * terms**0.25


def with_tf32(setup: Setup, operation: Operation, inputs: list[Tensor]) -> Tensor:
    """The result in TensorFloat-32: the card's where torch's flags choose that there, else that of rounded inputs."""
    able = setup.device.type == "cuda" and torch.cuda.get_device_capability(setup.device) >= (8, 0)
    if able and operation.switched:
        with tf32_allowed():
            return operation.run(*on(setup, inputs))
    return operation.run(*(rounded(x) for x in inputs))


@contextmanager
def tf32_allowed() -> Iterator[None]:
    """For a block in which torch may use TensorFloat-32."""
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = True
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


def rounded(x: Tensor) -> Tensor:
    """float32 numbers with 10 bits after the leading one, as TensorFloat-32 has."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def reductions(setup: Setup) -> Iterator[Result]:
    """Products in bfloat16 are summed in float32."""
    needs_card(setup)
    allowed = torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    yield Result("sums in bfloat16", not allowed, "allowed" if allowed else "off", "off")
