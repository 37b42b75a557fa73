"""Shapes of the public checkpoints, by name. Imports no torch: the pipeline plans with these before any file is there.

Sources: FoundationVision/VAR (Tian et al., NeurIPS 2024) for the VAR of depth d, d heads of 64; the CCA weights of
thu-ml/CCA have the same shapes.
"""

from typing import Any

PATCH_NUMS_256 = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
PATCH_NUMS_512 = (1, 2, 3, 4, 6, 9, 13, 18, 24, 32)

Architecture = dict[str, dict[str, Any]]


def public(depth: int, patch_nums: tuple[int, ...] = PATCH_NUMS_256, shared_adaln: bool = False) -> Architecture:
    """The shape of the public VAR of a depth, with the VQ-VAE that all public VARs share (vae_ch160v4096z32)."""
    vqvae = {
        "patch_nums": list(patch_nums),
        "ch": 160,
        "ch_mult": [1, 1, 2, 2, 4],
        "num_res_blocks": 2,
        "z_channels": 32,
        "vocab_size": 4096,
        "norm_groups": 32,
    }
    return {"vqvae": vqvae, "var": {"depth": depth, "width": 64 * depth, "heads": depth, "shared_adaln": shared_adaln}}


ARCHITECTURES = {
    "var_d16": public(16),
    "var_d20": public(20),
    "var_d24": public(24),
    "var_d30": public(30),
    "var_d36": public(36, PATCH_NUMS_512, shared_adaln=True),
}
