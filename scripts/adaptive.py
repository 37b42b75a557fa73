"""Make the table of adaptive funnels: accuracy, cost and risk for several alphas, beside a fixed funnel."""

import pandas as pd
from job import job
from shapes import model_configs

from varc.baselines.costs import rival_step_costs
from varc.costs.models import model_costs
from varc.metrics.accuracy import right_predictions
from varc.metrics.frontier import adaptive_row, fixed_frontier
from varc.metrics.holm import with_holm
from varc.metrics.plots import plot_frontier
from varc.metrics.tables import write_table
from varc.scoring.adaptive import calibrate, calibration_units, simulate
from varc.scoring.labelled import is_right, read_labelled_scores
from varc.scoring.scale_weights import read_labelled_weights
from varc.storage import check_images, image_ids, read_parquet

ALPHAS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
CAPTION = (
    "alpha: the promised risk that the label is dropped although the full funnel (of a rival all orders of all tokens) "
    "predicts it, of an image; of a group "
    "(calibration_unit) in the mean over groups. With fewer calibration_units than calibration_units_needed no class "
    "is dropped. configured: the alpha that the classifier runs with. Of the risk_images evaluated images whose "
    "label the full funnel predicts, with exact 95 % intervals over images or groups (unit): observed_risk, the share "
    "whose label is dropped; observed_early_loss, the share whose label is kept and not predicted, since smoothing "
    "stopped early, of which alpha promises nothing; observed_loss, the share of both. group_risk: observed_risk as "
    "the mean over the groups that these images are of. Thresholds come from calibration images alone. "
    "scoring_gflops: per image, fvcore's convention, encoder apart (encoder_gflops); of_varc: its share of VARC's, "
    "of a rival of one order of all classes. "
    "vs_fixed: top-1 minus that of the classifier `reference`, paired, with a 95 % interval (Fay and Lumbard 2021; "
    "with groups no narrower than by their sign-flip test), McNemar's exact p, the same adjusted for the number of "
    "rows (Holm), and the images gained and lost. The alphas that no classifier runs are computed from the scores of "
    "all classes; the decisions are the same."
)


with job(snakemake) as log:
    rows, frontiers = [], {}
    for i, row in enumerate(snakemake.params.rows):
        shapes = snakemake.params.shapes
        costs = rival_step_costs(row["rival"]) if row["rival"] else model_costs(*model_configs(shapes[row["scorer"]]))
        files = snakemake.input
        weights = read_labelled_weights(files[f"scale_weights{i}"], files[f"test_scores{i}"])
        test = read_labelled_scores(files[f"test_manifest{i}"], files[f"test_scores{i}"], weights)
        known = read_labelled_scores(files[f"calibration_manifest{i}"], files[f"calibration_scores{i}"], weights)
        full_best, known_best = (scores.samples.mean(0).argmax(1) for scores in (test, known))
        fixed_right = is_right(test.per_scale.sum(-1).argmax(1), test.own)
        if row["reference"]:
            reference = read_parquet(files[f"reference{i}"])
            check_images(files[f"reference{i}"], image_ids(reference), files[f"test_manifest{i}"], test.image_ids)
            fixed_right = right_predictions(reference.to_pandas())
        known_right = is_right(known_best, known.own)
        for alpha in sorted({*ALPHAS, row["alpha"]}):
            thresholds = calibrate(known.per_scale, known_best, known_right, alpha, known.groups)
            units = calibration_units(known_right, alpha, known.groups)
            result = simulate(test.per_scale, test.samples[1:], thresholds)
            found = adaptive_row(result, test.own, full_best, fixed_right, costs, test.groups)
            names = {"dataset": row["dataset"], "classifier": row["classifier"], "reference": row["reference"]}
            _, classes, num_steps = test.per_scale.shape
            varc_gflops = classes * costs.passes[num_steps].gflops
            share = {"of_varc": found["scoring_gflops"] / varc_gflops}
            promised = {f"calibration_{key}": value for key, value in units._asdict().items()}
            rows.append({**names, "alpha": alpha, "configured": alpha == row["alpha"], **promised, **found, **share})
        frontiers[row["dataset"], row["classifier"]] = fixed_frontier(test.per_scale, test.own, costs)
    table = with_holm(pd.DataFrame(rows), "vs_fixed_p")
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_frontier(snakemake.output.plot, table, frontiers)
