"""How a VAR is computed: the precision of its linear layers, and which of several exact forms of a step is used."""

from typing import NamedTuple

import torch


class Forms(NamedTuple):
    """Which way computes a step: all give the same numbers but for float rounding, and which is fastest depends on the
    processor and the shapes (varc.scoring.forms measures it).

    attention: of each scale over what it sees, by torch's fused kernel ("fused") or as products ("products"), or of all
    scales at once under a mask ("masked"). log_prob: from the logits less their log-sum-exp ("logsumexp"), or from
    their log-softmax ("log_softmax").
    """

    attention: str = "fused"
    log_prob: str = "logsumexp"


class Arithmetic(NamedTuple):
    """How a model computes. precision: float32, tf32 or bf16, of the blocks' linear layers; all else is float32."""

    precision: str = "float32"
    forms: Forms = Forms()

    @property
    def dtype(self) -> torch.dtype:
        """Of those layers, and of queries, keys and values."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32
