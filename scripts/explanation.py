"""Make the table of faithfulness: areas under insertion and deletion curves, method by method."""

import pandas as pd
from job import job
from maps import map_costs

from varc.metrics.calibration import fit_temperature
from varc.metrics.explanation import auc_row, judge_agrees, rank_correlation, read_curves, with_paper
from varc.metrics.holm import with_holm
from varc.metrics.plots import plot_explanation
from varc.metrics.tables import write_table
from varc.scoring.labelled import read_labelled_scores
from varc.storage import read_columns, read_groups

CAPTION = (
    "Mean area under the curve of the target's probability (softmax over all classes at the temperature: 1, or the "
    "one fitted on calibration images) against the share of pixels, by trapezoids, both ends included; 95 % bootstrap "
    "intervals over images; where unit is group, the wider one of these and of the groups' sign-flip test. "
    "Insertion, from the substrate to the image: more is better; deletion: less is better. vs_random: paired with the "
    "random map, with p of the paired t test (the larger one with groups), and p adjusted for the number of rows "
    "(Holm). judge: the explained classifier (varc), or another network. rank_correlation: of the maps with tmi's. "
    "passes, gflops (fvcore, forward only) and seconds: to make one map. paper_auc: A-VARC+ on ImageNet-100, another "
    "protocol."
)


def maps_of(files, other, ids):
    """The maps (N, p_K^2) of the images of all shards."""
    return read_columns(files, "map", other, ids)


def temperatures(i):
    """1, and the temperature fitted on calibration images, where the model has some."""
    scores = snakemake.input.get(f"calibration_scores{i}")
    if not scores:
        return [1.0]
    known = read_labelled_scores(snakemake.input[f"calibration_manifest{i}"], scores)
    return [1.0, fit_temperature(known.samples[0], known.labels, known.class_labels)]


with job(snakemake) as log:
    files, rows = snakemake.input, []
    for i, spec in enumerate(snakemake.params.rows):
        kind = spec["curve"], spec["substrate"]
        curves = read_curves(files[f"curves{i}"], *kind)
        random = read_curves(files[f"random{i}"], *kind) if files.get(f"random{i}") else None
        groups = read_groups(files[f"manifest{i}"], curves.image_ids)
        known = {"images": len(curves.image_ids), **map_costs(files[f"maps{i}"])}
        if files.get(f"tmi{i}"):
            maps, tmi = files[f"maps{i}"], files[f"tmi{i}"]
            known["rank_correlation"] = rank_correlation(
                *(maps_of(paths, maps[0], curves.image_ids) for paths in (maps, tmi))
            )
        agrees = judge_agrees(curves, -1 if spec["curve"] == "insertion" else 0)
        for temperature in temperatures(i) if spec["judge"] == "varc" else [1.0]:
            row = auc_row(curves, temperature, random, groups)
            rows.append({**spec, "temperature": temperature, **row, "judge_agrees": agrees, **known})
    table = pd.DataFrame(rows)
    if "vs_random_p" in table:
        table = with_holm(table, "vs_random_p")
    table = with_paper(table, snakemake.input.published or None)
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_explanation(snakemake.output.plot, table)
    for row in table.itertuples():
        log.info("%s %s %s %s: %.4f", row.model, row.method, row.judge, row.curve, row.auc)
