"""Numbers of tokens of the scales of an image. Imports no torch."""

from collections.abc import Sequence


def tokens_at(patch_nums: Sequence[int], scales: int) -> int:
    """Tokens in the first `scales` scales."""
    return sum(p * p for p in patch_nums[:scales])
