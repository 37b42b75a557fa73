"""Look how well maps find the pixels that truly tell the classes of pairs apart, image by image and map by map."""

import numpy as np
from explained import read_paired
from job import job
from maps import map_costs, read_maps
from shapes import model_configs

from varc.data.manifest import rows
from varc.explain.contrast import truth
from varc.metrics.contrast import MEASURES, localise, signs
from varc.storage import LOCALISED, read_parquet, write_parquet

with job(snakemake) as log:
    files, params = snakemake.input, snakemake.params
    listed = rows(read_parquet(files.manifest))
    group = {row.image_id: row.group for row in listed}
    pairs = list(read_paired(files.pairs).values())
    known = truth(params.dataset, pairs, listed, model_configs(params.shape)[0].image_size, files.pairs)
    position = {pair.image_id: i for i, pair in enumerate(pairs)}
    columns = {name: [] for name in LOCALISED.names}
    for m, method in enumerate(params.methods):
        ids, maps = read_maps(files[f"maps{m}"])
        where = [position[image_id] for image_id in ids]
        own = {
            "image_id": ids,
            "group": [group[image_id] for image_id in ids],
            "target": [pairs[i].target for i in where],
            "against": [pairs[i].against for i in where],
            "present": known.present[where],
            "area": known.masks[where].sum((1, 2)),
            "method": [method] * len(ids),
        }
        for sign in signs(method):
            found = localise(np.abs(maps) if sign == "absolute" else maps, known.masks[where])
            for name, values in {**own, "sign": [sign] * len(ids), **found._asdict()}.items():
                columns[name].extend(values)
            auc = found.auc.mean() if len(ids) else np.nan
            log.info("%s, %s: %d images, mean %s %.4f", method, sign, len(ids), MEASURES[0], auc)
    costs = {method: map_costs(files[f"maps{m}"]) for m, method in enumerate(params.methods)}
    write_parquet(snakemake.output.localised, columns, LOCALISED, {"costs": costs})
