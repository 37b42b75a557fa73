"""Memory of fine-tuning a VAR, in closed form from its shape. Imports no torch: plans and jobs count alike."""

from typing import Any

from varc.costs.closed_form import var_parameters
from varc.models.scales import tokens_at

FLOAT = 4  # bytes
# Bytes that a block keeps for its backward pass, per token and number of width. float32: 23 numbers (residual,
# normalised, modulated, q, k and v, normalised q, scaled q, normalised k, attended, projected; residual, normalised,
# modulated, MLP's inner layer before and after GELU, its output). bf16: autocast halves 18 of them; 5 stay float32.
BLOCK_BYTES = {"float32": 23 * 4, "tf32": 23 * 4, "bf16": 5 * 4 + 18 * 2}


def labels_per_image(settings: dict[str, Any]) -> int:
    """Under how many labels a fine-tuning runs an image: two by CCA, `negatives` beside its own by the discriminative
    loss, one by cross-entropy."""
    return 2 if has_reference(settings) else 1 + settings.get("negatives", 0)


def has_reference(settings: dict[str, Any]) -> bool:
    """Whether a fine-tuning compares with its frozen start: by CCA."""
    return "lambda" in settings


def finetune_bytes(shape: Any, sequences: int, precision: str, reference: bool, classes: int = 1000) -> float:
    """What fine-tuning takes at its peak on the device of each process, with so many sequences in a micro-batch: its
    images, each under one or several labels.

    reference: by CCA, with its frozen start. Held throughout are weights, gradients, AdamW's two moments and in bf16
    autocast's copies of the weights; to them come what the backward pass of a micro-batch needs or, after it, AdamW's
    roots. Attention counts as its fused kernels have it, which keep no product of queries and keys. What CUDA itself
    takes, and what its allocator cannot use, is not in it.
    """
    d, C, bf16 = shape.depth, shape.width, precision == "bf16"
    weights = FLOAT * (var_parameters(shape, classes) + 15 * d * C)  # with the biases of the blocks
    length = tokens_at(shape.patch_nums, len(shape.patch_nums))
    block = BLOCK_BYTES[precision] * C + FLOAT * (5 * shape.heads + 4)  # norms of q and k, LayerNorm's moments
    ends = FLOAT * (3 * (shape.vocab_size + C) + 2 * shape.z_channels + 8)  # log-softmax, its gradients; the input
    adaln, mask = FLOAT * 9 * C, (2 if bf16 else FLOAT) * length**2
    kept = sequences * (length * (d * block + ends) + d * adaln) + (d + 4) * mask + (weights / 2 if bf16 else 0)
    return weights * (5 if reference else 4) + max(kept, weights)


def host_bytes(shape: Any, images: int, processes: int) -> float:
    """What the processes of one fine-tuning on the tokens of so many images hold of their node, beside their devices.

    Each holds the weights twice while it reads them, and the tokens three times: as columns, as samples, together. The
    first writes checkpoints: weights, moments, and the best step's weights, which it keeps there.
    """
    weights = FLOAT * var_parameters(shape, 1000)
    tokens = 2 * images * tokens_at(shape.patch_nums, len(shape.patch_nums))
    return processes * (2 * weights + 3 * tokens) + 5 * weights
