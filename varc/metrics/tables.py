"""The tables of a run, as data frames, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from varc.files import write_csv, write_text
from varc.groups import Groups, unit_of
from varc.metrics.accuracy import among, final_rank, pruning_recall, right_predictions
from varc.metrics.intervals import share_interval
from varc.metrics.published import read_published
from varc.metrics.shown import as_markdown, shown

if TYPE_CHECKING:  # torch takes seconds to import
    from varc.baselines.family import Cost
    from varc.costs.counting import ModelCosts
    from varc.scoring.adaptive import AdaptiveScores

Funnel = list[dict[str, Any]]  # stages with scales, samples, keep, and reused: samples that another stage has scored


def write_table(table: pd.DataFrame, csv: str | Path, markdown: str | Path, caption: str) -> None:
    """The table as CSV with plain numbers, and as Markdown with a caption, as it is shown."""
    write_csv(csv, table, "%.10g")
    write_text(markdown, f"{caption}\n\n{as_markdown(shown(table, Path(csv).stem))}\n")


def gflops_rows(
    dataset: str, classes: int, classifier: str, funnel: Funnel, patch_nums: Sequence[int], costs: ModelCosts
) -> list[dict[str, Any]]:
    """Costs per image of a classifier's stages, rows of tables/gflops.csv.

    gflops is nominal: every pass of every sample, on the plain forward. gflops_computed leaves out the passes of
    samples that another stage has scored (`reused`): these scores are read, not computed. attention_gflops are the
    nominal attention products, which are part of neither.
    """
    encoder, passes = costs
    rows = [stage_row("encoder", 1, None, 1, encoder.gflops, encoder.gflops, encoder.attention_gflops)]
    candidates = classes
    for i, stage in enumerate(funnel):
        scales, samples = stage["scales"], stage["samples"]
        cost = passes[scales]
        scored = candidates + ("guidance" in stage)  # the unconditional class too
        nominal, computed = scored * samples, scored * (samples - stage["reused"])
        rows.append(
            stage_row(
                f"stage{i + 1}",
                nominal,
                sum(p * p for p in patch_nums[:scales]),
                samples,
                nominal * cost.gflops,
                computed * cost.gflops,
                nominal * cost.attention_gflops,
            )
        )
        candidates = min(candidates, stage["keep"])
    sums = [sum(row[key] for row in rows) for key in ("gflops", "gflops_computed", "attention_gflops")]
    rows.append(stage_row("total", sum(row["passes"] for row in rows[1:]), None, None, *sums))
    return [{"dataset": dataset, "classes": classes, "classifier": classifier, **row} for row in rows]


def adaptive_gflops_rows(
    dataset: str, classifier: str, result: AdaptiveScores, costs: ModelCosts, encoder_apart: bool = True
) -> list[dict[str, Any]]:
    """Costs per image of an adaptive funnel, means over the images it scored; see gflops_rows.

    passes: candidates and samples begun. gflops counts each as a plain pass of the steps that it got; so does
    gflops_computed, since nothing is computed twice: keys and values of earlier steps are kept. encoder_apart: in a row
    of its own; of rivals it is part of the first stage.
    """
    encoder, passes = costs
    last = result.per_step.shape[2]
    extra = np.maximum(result.samples - 1, 0).sum(1).mean()
    begun = {k: (result.steps == k).sum(1).mean() for k in range(1, last + 1)}
    gflops = sum(n * passes[k].gflops for k, n in begun.items()) + extra * passes[last].gflops
    attention = sum(n * passes[k].attention_gflops for k, n in begun.items()) + extra * passes[last].attention_gflops
    begun_passes = result.steps.shape[1] + extra
    whole = encoder.gflops + gflops, encoder.attention_gflops + attention
    own = (gflops, attention) if encoder_apart else whole
    first = stage_row("encoder", 1, None, 1, encoder.gflops, encoder.gflops, encoder.attention_gflops)
    rows = [
        *([first] if encoder_apart else []),
        stage_row("stage1", begun_passes, None, None, own[0], *own),
        stage_row("total", begun_passes, None, None, whole[0], *whole),
    ]
    return [{"dataset": dataset, "classes": result.steps.shape[1], "classifier": classifier, **row} for row in rows]


def certified_gflops_rows(
    dataset: str,
    classes: int,
    classifier: str,
    quick: dict[str, Any],
    result: AdaptiveScores,
    patch_nums: Sequence[int],
    costs: ModelCosts,
) -> list[dict[str, Any]]:
    """Costs per image of a certified stage: all classes in the lower precision, as gflops_rows counts them, and passes
    in float32 of the contenders of images that have several, a mean."""
    *rows, total = gflops_rows(dataset, classes, classifier, [quick], patch_nums, costs)
    kept = (result.samples > 0).sum(1)
    passes, cost = kept[kept > 1].sum() / len(kept), costs.passes[quick["scales"]]
    tokens = sum(p * p for p in patch_nums[: quick["scales"]])
    figures = (passes * cost.gflops,) * 2 + (passes * cost.attention_gflops,)
    own = {**total, **stage_row("stage2", passes, tokens, 1, *figures)}
    added = {key: total[key] + own[key] for key in ("passes", "gflops", "gflops_computed", "attention_gflops")}
    return [*rows, own, total | added]


def baseline_gflops_rows(dataset: str, classes: int, classifier: str, costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """Costs per image of a rival's stages, and their sum; see gflops_rows. gflops_computed is nominal too: what an
    earlier stage computed is taken over, but for a diffusion model's latents, which a second stage encodes again.
    """
    rows = [
        stage_row(f"stage{i}", cost.passes, None, None, cost.gflops, cost.gflops, cost.attention_gflops)
        for i, cost in enumerate(costs, 1)
    ]
    sums = [sum(row[key] for row in rows) for key in ("gflops", "gflops_computed", "attention_gflops")]
    rows.append(stage_row("total", sum(cost.passes for cost in costs), None, None, *sums))
    return [{"dataset": dataset, "classes": classes, "classifier": classifier, **row} for row in rows]


def main_row(cards: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a classifier is made of: parameters of the models of `cards`, and what their training took, that of the
    models `before` (which they were fine-tuned from) included.

    training_images: images seen, steps times batch size; of families that do not train by steps, the images there were.
    Empty where there are no cards, as for public weights.
    """
    if not cards:
        return {"parameters": None, "training_images": None, "training_seconds": None}
    return {
        "parameters": sum(card["parameters"] for card in cards),
        "training_images": sum(seen(card) for card in [*cards, *before]),
        "training_seconds": sum(card["seconds"] for card in [*cards, *before]),
    }


def seen(card: dict[str, Any]) -> int:
    """How many images a training saw; see main_row."""
    return card["images_seen"] if "images_seen" in card else card["settings"]["steps"] * card["settings"]["batch_size"]


def stage_row(stage: str, passes: float, tokens: int | None, samples: int | None, *gflops: float) -> dict[str, Any]:
    """A row of gflops_rows; gflops: nominal, computed, of attention products."""
    names = ("gflops", "gflops_computed", "attention_gflops")
    return {
        "stage": stage,
        "passes": passes,
        "tokens": tokens,
        "samples": samples,
        **dict(zip(names, gflops, strict=True)),
    }


def accuracy_row(
    predictions: pd.DataFrame, classes: int, adaptive: bool = False, groups: Groups = None
) -> dict[str, Any]:
    """Top-1, and top-5 where there are more than five classes and the funnel is fixed, with 95 % intervals.

    groups (N,) of the images: intervals are over these where there are any, else over images (`unit`).
    """
    n = len(predictions)
    stages = [name for name in predictions.columns if name.startswith("rank_stage")]
    right = right_predictions(predictions)
    low, high = share_interval(right, groups)
    ranks = final_rank([[None if pd.isna(r) else int(r) for r in predictions[name]] for name in stages])
    top5 = among(ranks, 5) if classes > 5 and not adaptive else None
    row = {"images": n, "top1": int(right.sum()) / n, "top1_low": low, "top1_high": high}
    low5, high5 = (None, None) if top5 is None else share_interval(top5, groups)
    share5 = None if top5 is None else int(top5.sum()) / n
    return {**row, "top5": share5, "top5_low": low5, "top5_high": high5, "unit": unit_of(groups)}


def pruning_rows(
    per_scale: NDArray[np.float64],
    class_ids: NDArray[Any],
    labels: NDArray[Any],
    costs: ModelCosts,
    groups: Groups = None,
    tokens: Sequence[int | None] | None = None,
) -> list[dict[str, Any]]:
    """Recall of the label among the best k classes after the first scales, for all k and numbers of scales, with an
    interval over images or groups (`unit`).

    per_scale: log-likelihoods (N, M, K) of all classes. class_ids (M,): the label that each stands for; the best of
    those that stand for an image's label counts. groups (N,): of the images. gflops: per image, of the funnel that this
    choice stands for: all classes at `scales` scales, then (if there are more) the best k at all scales.
    tokens (K,): of an image, up to the end of each scale, where a model has some.
    """
    classes, num_scales = per_scale.shape[1:]
    own_class = class_ids[None] == labels[:, None]  # (N, M)
    rows = []
    for scales in range(1, num_scales + 1):
        scores = per_scale[..., :scales].sum(-1)
        order = np.argsort(-scores, axis=1, kind="stable")
        rank = np.take_along_axis(own_class, order, 1).argmax(axis=1) + 1
        recall = pruning_recall(rank, classes)
        first = costs.encoder.gflops + classes * costs.passes[scales].gflops
        for k in range(1, classes + 1):
            second = k * costs.passes[num_scales].gflops if scales < num_scales else 0.0
            low, high = share_interval(rank <= k, groups)
            seen = tokens[scales - 1] if tokens else None
            known = {"scales": scales, "tokens": seen, "k": k, "recall": recall[k - 1]}
            ends = {"recall_low": low, "recall_high": high, "unit": unit_of(groups)}
            rows.append({**known, **ends, "gflops": first + second})
    return rows


def with_published(table: pd.DataFrame, published: str | Path | None, columns: dict[str, str]) -> pd.DataFrame:
    """The table with published figures in columns of their own, matched by dataset and classifier.

    published: a CSV with the columns dataset, classifier, and what `columns` names (column there -> column here). The
    table as it is for None, and for a file that knows none of its rows.
    """
    if published is None:
        return table
    figures = read_published(published, columns).rename(columns=columns)
    merged = table.merge(figures, on=["dataset", "classifier"], how="left", validate="many_to_one")
    return table if merged[list(columns.values())].isna().all(axis=None) else merged


def with_plan(cost: pd.DataFrame, plan: str | Path | None) -> pd.DataFrame:
    """Measured costs beside those of a plan.csv, by dataset, classifier and stage; as they are for None."""
    if plan is None:
        return cost
    keys = ["dataset", "classifier", "stage"]
    planned = pd.read_csv(plan).set_index(keys)["device_hours"] * 3600
    merged = cost.join(planned.rename("planned_seconds"), on=keys)
    return merged.assign(of_plan=merged["device_seconds"] / merged["planned_seconds"])
