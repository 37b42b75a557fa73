"""The settings of the family randar."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

PUBLIC_WEIGHTS = True  # load_public reads them
TOKENISER = True  # it is trained with the transformer
PUBLIC_FILES = ("vq", "gpt")  # which they are: the tokeniser and the transformer


@dataclass(frozen=True)
class Shape:
    """The transformer's depth, width, heads; of its tokeniser vocab_size codes, ch channels times ch_mult in each
    level, of which each but the last halves the resolution, and z_channels of the encoder's output."""

    image_size: int
    depth: int
    width: int
    heads: int
    vocab_size: int
    ch_mult: tuple[int, ...]
    z_channels: int
    ch: int = 128


@dataclass(frozen=True)
class Training:
    """Steps of so many images, and the peak learning rate; vq_*: of the tokeniser, which is trained first."""

    steps: int
    batch_size: int
    lr: float
    vq_steps: int
    vq_batch_size: int
    vq_lr: float


@dataclass(frozen=True)
class Scoring:
    """orders: in all, those of an earlier stage included. tokens: the first so many of an order. combine: the mean over
    orders of log p; of the softmax over the candidates; or log-sum-exp of log p. order: drawn at random, or raster.
    chunk: log p of the first order is kept by chunks of so many tokens, which changes no score."""

    orders: int = 1
    tokens: int | None = None
    combine: Literal["mean", "softmax", "logsumexp"] = "mean"
    order: Literal["random", "raster"] = "random"
    chunk: int | None = None


@dataclass(frozen=True)
class Adaptive:
    """Candidates are dropped after every chunk of so many tokens of the first order, and further orders, up to so many
    in all, are added while the prediction is open. order: as in Scoring."""

    chunk: int
    orders: int = 1
    order: Literal["random", "raster"] = "random"


@dataclass(frozen=True)
class Sample:
    """What is scored by itself: one order, by its number; None for raster. tokens, chunk: as in Scoring."""

    order: int | None
    tokens: int | None = None
    chunk: int | None = None


def samples(scoring: Scoring) -> dict[str, Sample]:
    """A stage's orders, by the names of their folders: raising `orders` adds some."""
    some, chunks = spell_tokens(scoring), spell_chunk(scoring)
    if scoring.order == "raster":
        return {f"raster{some}{chunks}": Sample(None, scoring.tokens, scoring.chunk)}
    others = {f"order{i}{some}": Sample(i, scoring.tokens) for i in range(1, scoring.orders)}
    return {f"order0{some}{chunks}": Sample(0, scoring.tokens, scoring.chunk), **others}


def alone(scoring: Scoring) -> Scoring:
    """A stage of one of its orders, which costs as much as any other."""
    return dataclasses.replace(scoring, orders=1, combine="mean", chunk=None)


def full(adaptive: Adaptive) -> Scoring:
    """A stage of all that an adaptive one may score, by the same chunks."""
    return Scoring(orders=adaptive.orders, order=adaptive.order, chunk=adaptive.chunk)


def spelled(scoring: Scoring) -> str:
    """A stage, in the names of what it keeps: "orders20", "raster-tokens32", "orders5-softmax", "orders20-chunk16"."""
    orders = "raster" if scoring.order == "raster" else f"orders{scoring.orders}"
    combine = "" if scoring.combine == "mean" else f"-{scoring.combine}"
    return f"{orders}{spell_tokens(scoring)}{combine}{spell_chunk(scoring)}"


def spell_tokens(scoring: Scoring) -> str:
    return f"-tokens{scoring.tokens}" if scoring.tokens else ""


def spell_chunk(scoring: Scoring) -> str:
    return f"-chunk{scoring.chunk}" if scoring.chunk else ""


def grid_tokens(shape: Shape) -> int:
    """How many tokens an image has."""
    return (shape.image_size // 2 ** (len(shape.ch_mult) - 1)) ** 2


def check_shape(shape: Shape) -> None:
    """Raises ValueError for a shape that no model can have, naming the key."""
    halved = 2 ** (len(shape.ch_mult) - 1)
    if shape.image_size % halved:
        raise ValueError(f"image_size is {shape.image_size}; the levels of ch_mult need a multiple of {halved}")
    if shape.width % (4 * shape.heads):
        raise ValueError(f"width is {shape.width}; rows and columns turn pairs, so it must be a multiple of 4 x heads")
    if wrong := [mult for mult in shape.ch_mult if shape.ch * mult % 32]:
        raise ValueError(f"ch {shape.ch} x ch_mult {wrong[0]} must be a multiple of 32, the groups of GroupNorm")


def check_stages(shape: Shape, stages: list[Scoring]) -> None:
    """Raises ValueError for stages that cannot be scored, naming the stage and the key."""
    for i, scoring in enumerate(stages):
        if scoring.order == "raster" and scoring.orders > 1:
            found = f"orders is {scoring.orders}, but order: raster is one order"
            raise ValueError(f"{i}: {found}; set orders to 1, or order to random")
        if scoring.tokens and scoring.tokens > (most := grid_tokens(shape)):
            raise ValueError(f"{i}: tokens is {scoring.tokens}, but an image has {most}; give at most so many")
        if scoring.chunk and scoring.chunk > (most := scoring.tokens or grid_tokens(shape)):
            raise ValueError(f"{i}: chunk is {scoring.chunk}, but {most} tokens are scored; give at most so many")
        if scoring.chunk and len(stages) > 1:
            raise ValueError(f"{i}: chunk goes with one stage, which scores all classes; take it away")
        if i and samples(scoring).keys() <= samples(stages[i - 1]).keys():
            found = f"orders is {scoring.orders}, and the stage before scores as many"
            raise ValueError(f"{i}: {found}; a stage needs more orders than the one before, or other tokens")
