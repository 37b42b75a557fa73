"""Make the table of certified stages: what was promised, what came of it, and what it cost."""

import pandas as pd
from job import job
from shapes import model_configs

from varc.costs.models import model_costs
from varc.metrics.certified import certified_row, certified_seconds
from varc.metrics.tables import write_table
from varc.scoring.adaptive import read_adaptive
from varc.scoring.labelled import read_labelled_scores
from varc.scoring.scale_weights import read_labelled_weights
from varc.seal import read_json

CAPTION = (
    "All classes are scored in the precision, and in float32 those within delta (nats) of the best, of images that "
    "have several (contenders: their mean number; settled: the share of images that have one alone; passes_float32: "
    "per image). alpha: the promised risk that the class that float32 predicts is not among them, of an image; of a "
    "group (calibration_unit) in the mean over groups. With fewer calibration_units than calibration_units_needed all "
    "classes are contenders. Where `reference`, a classifier of this run, scores all classes in float32: "
    "observed_risk, with an exact 95 % interval over images or groups; group_risk: its mean over groups; changed: the "
    "predictions that are not float32's; changed_by_precision: those of the lower precision alone. seconds: the "
    "device's, of both parts; times_faster: those of float32 alone over these. gflops: nominal, passes in either "
    "precision alike."
)


with job(snakemake) as log:
    rows = []
    for i, row in enumerate(snakemake.params.rows):
        files = {name: snakemake.input[f"{name}{i}"] for name in ("manifest", "quick", "scores", "exact", "delta")}
        weights = read_labelled_weights(snakemake.input[f"scale_weights{i}"], files["quick"])
        quick = read_labelled_scores(files["manifest"], files["quick"], weights)
        exact = None
        if files["exact"]:
            exact = read_labelled_scores(files["manifest"], files["exact"], weights, row["scales"]).samples[0]
        known, (result, _, _) = read_json(files["delta"]), read_adaptive(*files["scores"])
        found = certified_row(quick.samples[0], result, exact, quick.groups)
        configs = model_configs(snakemake.params.shapes[row["model"]])
        cost = model_costs(*configs).passes[row["scales"]].gflops
        names = {key: row[key] for key in ("dataset", "classifier", "reference", "precision", "scales", "alpha")}
        promised = {"calibration_" + key: known[key] for key in ("unit", "units", "units_needed")}
        gflops = {"gflops": (found["classes"] + found["passes_float32"]) * cost}
        seconds = certified_seconds(
            files["quick"], files["scores"], files["exact"], row["scales"], configs[0].patch_nums
        )
        rows.append({**names, **promised, "delta": known["delta"], **found, **gflops, **seconds})
    write_table(pd.DataFrame(rows), snakemake.output.csv, snakemake.output.markdown, CAPTION)
