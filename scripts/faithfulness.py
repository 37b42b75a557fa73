"""Judge the maps of a shard: the scores of all classes along the insertion or the deletion curve of each image."""

import numpy as np
from job import compute_device, job, measured, progress
from kept import job_parts
from models import on_device, read_models
from networks import read_judge
from shapes import model_configs

from varc.data.classes import class_ids, data_set_classes
from varc.data.manifest import load_images, rows
from varc.explain.faithfulness import faithfulness
from varc.explain.judges import varc_judge
from varc.freshness import check_made_with, models_of
from varc.storage import column_matrix, curves_schema, fixed_size_list, image_ids, read_parquet, write_parquet

with job(snakemake) as log:
    device = compute_device(snakemake)
    files, params = snakemake.input, snakemake.params
    classes = np.array(class_ids(data_set_classes(params.dataset)), np.int32)
    if params.judge == "varc":
        vqvae, var, _, made_from = on_device(read_models(snakemake), device, params.precision)
        for key in models_of(files.maps):  # maps of pixels alone have none
            check_made_with([files.maps], key, made_from.get(key), files.var)
        parts = job_parts(snakemake, snakemake.output.curves, device, **made_from)
        judge = varc_judge(vqvae.to(device), var, classes, device, parts)
    else:
        judge, card = read_judge(files.judge, params.rival, classes, params.seed, device, params.precision)
        made_from = {"judge_sha256": card["sha256"], "dtype": params.precision}
        parts = job_parts(snakemake, snakemake.output.curves, device, **made_from)
    table = read_parquet(files.maps, ["image_id", "target", "map"])
    ids = image_ids(table)
    by_id = {row.image_id: row for row in rows(read_parquet(files.manifest))}
    images = load_images(params.dataset, [by_id[i] for i in ids], model_configs(params.shape)[0].image_size)
    maps = column_matrix(table, "map")
    grid = int(maps.shape[1] ** 0.5)
    settings = {"steps": params.steps, "mode": params.upsample, "seed": params.seed}
    points, found = params.steps + 1, []
    with measured(device, len(ids), log, parts=parts) as record:
        for curve, ground in params.curves:
            log.info("%s, %s", curve, ground)
            ends = {"curve": curve, "ground": ground, "report": progress(log, parts), "keep": parts}
            scores = faithfulness(images, maps.reshape(-1, grid, grid), ids, judge, **settings, **ends)
            found.append(scores.reshape(len(ids), points * len(classes)))
    write_parquet(
        snakemake.output.curves,
        {
            "image_id": np.tile(ids, len(found)),
            "curve": np.repeat([curve for curve, _ in params.curves], len(ids)),
            "substrate": np.repeat([ground for _, ground in params.curves], len(ids)),
            "target": np.tile(table["target"].to_numpy(), len(found)),
            "scores": fixed_size_list(np.concatenate(found)),
        },
        curves_schema(points, len(classes)),
        {**record, **settings, "class_ids": classes.tolist(), **made_from},
    )
    parts.remove()
