"""Token-wise mutual information (TMI), the A-VARC+ paper's explanation: the likelihood splits over tokens."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from varc.errors import InputError
from varc.models.var import VAR
from varc.scoring.funnel import Scores
from varc.seeded import order_by_hash

Floats = NDArray[np.float32]
Ints = NDArray[np.integer]
UNCONDITIONAL = -1  # in place of a class_id
RUNNER_UP = "runner_up-of-"
EXPONENTS = {  # of (p_k / p_K), the weight of scale k in the map of each method
    "tmi": 2.0,  # the paper's: a token counts by the area that it stands for
    "tmi_flat": 0.0,
    "tmi_steep": 4.0,
    "tmi_last": np.inf,  # the finest scale alone
    "tmi_randomised": 2.0,  # of a model with random weights, the sanity check of Adebayo et al. 2018
    "tmi_abs": 2.0,  # of absolute values: where the classes are told apart, whichever the token speaks for
    "tmi_abs_randomised": 2.0,
}
OF_ABSOLUTES = ("tmi_abs", "tmi_abs_randomised")
PAIR_ROLES = {"target-of-": "target", "against-of-": "against"}  # the beginning of a role -> the class of a pair


def tmi(target: Sequence[Floats], against: Sequence[Floats]) -> Floats:
    """log p(r | earlier scales, target) - log p(r | earlier scales, against) per token (N, L), in nats.

    target, against: log p of each token (N, L) under either class, one array per smoothing sample, over which the
    difference is averaged. Against the unconditional class it is TMI; against another class contrastive TMI. Summed
    over the tokens it is the difference of the two log-likelihoods.
    """
    differences = np.stack([t - a for t, a in zip(target, against, strict=True)])
    return differences.mean(axis=0, dtype=np.float64).astype(np.float32)


def explained_order(image_ids: Sequence[str], seed: int) -> list[int]:
    """The positions of images in the order of a hash of (seed, image_id)."""
    return order_by_hash(image_ids, seed, "explain")


def embedding_rows(class_ids: Ints, num_classes: int) -> Ints:
    """The rows of a model's class embedding: num_classes for UNCONDITIONAL. Raises InputError for other classes that
    the model lacks."""
    if len(class_ids) and not UNCONDITIONAL <= class_ids.min() <= class_ids.max() < num_classes:
        unknown = next(i for i in class_ids if not UNCONDITIONAL <= i < num_classes)
        raise InputError(f"class {unknown}: the model knows 0 to {num_classes - 1} only; explain one of these")
    return np.where(class_ids == UNCONDITIONAL, num_classes, class_ids)


def explained_images(
    image_ids: Sequence[str], images: int | None, seed: int, among: Collection[str] | None = None
) -> NDArray[np.bool_]:
    """Which images (N,) of a data set are explained: the first so many of explained_order; None: all.

    among: the image_ids that there is something to explain of; None: of all.
    """
    chosen = np.zeros(len(image_ids), bool)
    order = [i for i in explained_order(image_ids, seed) if among is None or image_ids[i] in among]
    chosen[order[:images]] = True
    return chosen


def role_classes(role: str, labels: Ints, scores: Scores | None, pairs: Mapping[str, Ints] | None = None) -> Ints:
    """The class_id (N,) that a role names for each image; -1 for the unconditional class.

    role: "label"; "prediction", VARC's by the scores of all classes; "unconditional"; "runner_up-of-<role>", the best
    class other than that role's; "target-of-<pairs>" and "against-of-<pairs>", the image's own by pairs ("target" and
    "against" -> (N,)); or one class_id for all images.
    """
    for beginning, which in PAIR_ROLES.items():
        if role.startswith(beginning):
            assert pairs is not None
            return pairs[which]
    if role == "label":
        return labels
    if role == "unconditional":
        return np.full(len(labels), UNCONDITIONAL)
    if role == "prediction":
        return best_but(scores, np.full(len(labels), UNCONDITIONAL))
    if role.startswith(RUNNER_UP):
        return best_but(scores, role_classes(role.removeprefix(RUNNER_UP), labels, scores))
    return np.full(len(labels), int(role))


def best_but(scores: Scores | None, left_out: Ints) -> Ints:
    """The best class of each image other than left_out (N,)."""
    assert scores is not None
    others = np.where(scores.class_ids == left_out[:, None], -np.inf, scores.log_likelihood)
    return np.take_along_axis(scores.class_ids, others.argmax(1)[:, None], 1)[:, 0]


def scale_maps(per_token: Floats, patch_nums: Sequence[int]) -> Floats:
    """The map of each scale (N, K, p_K, p_K), unweighted, from per-token values (N, L); by nearest neighbours.

    F.interpolate(mode="nearest"), as the paper's code has it.
    """
    full, first, maps = patch_nums[-1], 0, []
    for p in patch_nums:
        part = torch.from_numpy(np.ascontiguousarray(per_token[:, first : first + p * p]))
        maps.append(F.interpolate(part.view(-1, 1, p, p), size=(full, full), mode="nearest"))
        first += p * p
    return torch.cat(maps, dim=1).numpy()


def scale_weights(patch_nums: Sequence[int], method: str = "tmi") -> Floats:
    """The weight of each scale (K,): (p_k / p_K)^a, a as in EXPONENTS. The paper's is a = 2, "tmi"."""
    share = np.array(patch_nums, np.float32) / np.float32(patch_nums[-1])
    return share ** np.float32(EXPONENTS[method])


def weighted_maps(per_token: Floats, patch_nums: Sequence[int], method: str = "tmi") -> Floats:
    """What each scale adds to the map (N, K, p_K, p_K); of absolute values for methods of OF_ABSOLUTES."""
    values = np.abs(per_token) if method in OF_ABSOLUTES else per_token
    return scale_maps(values, patch_nums) * scale_weights(patch_nums, method)[:, None, None]


def tmi_map(per_token: Floats, patch_nums: Sequence[int], method: str = "tmi") -> Floats:
    """The map (N, p_K, p_K) before clipping and scaling: the weighted sum of the scales' maps."""
    return weighted_maps(per_token, patch_nums, method).sum(axis=1)


def randomised(var: VAR, seed: int) -> VAR:
    """The model with the numbers of every weight tensor shuffled, in place: what it learned is gone, sizes stay."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in var.parameters():
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.data = parameter.data.flatten()[order].view_as(parameter)
    return var


def as_picture(maps: Floats) -> Floats:
    """Maps (N, h, w) clipped below 0 and scaled to [0, 1] each; all 0 where nothing is above 0."""
    clipped = np.maximum(maps, 0)
    low, high = clipped.min(axis=(1, 2), keepdims=True), clipped.max(axis=(1, 2), keepdims=True)
    return (clipped - low) / np.maximum(high - low, 1e-12)
