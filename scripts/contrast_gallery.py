"""Draw the maps that find the true difference best and worst: by AUC of their absolute values, ties by image_id."""

from explained import read_paired
from job import job
from maps import read_maps
from shapes import model_configs

from varc.data.classes import data_set_classes
from varc.data.manifest import rows
from varc.explain.contrast import truth
from varc.explain.picture import Located, draw_located
from varc.files import whole
from varc.metrics.contrast import clearest, worst
from varc.storage import read_parquet

with job(snakemake) as log:
    files, params, method = snakemake.input, snakemake.params, snakemake.wildcards.method
    names = {entry.class_id: entry.name for entry in data_set_classes(params.dataset)}
    located = read_parquet(files.located).to_pandas().query("method == @method and sign == 'absolute'")
    auc = dict(zip(located["image_id"], located["auc"], strict=True))
    paired, maps = read_paired(files.pairs), dict(zip(*read_maps(files.maps), strict=True))
    listed, side = rows(read_parquet(files.manifest)), model_configs(params.shape)[0].image_size

    def column(ids):
        """What is shown of some images."""
        pairs = [paired[image_id] for image_id in ids]
        known = truth(params.dataset, pairs, listed, side, files.pairs)
        titles = [f"{names[p.target]}, not {names[p.against]}: AUC {auc[p.image_id]:.3f}\n{p.image_id}" for p in pairs]
        parts = zip(
            known.pictures, known.others, known.masks, [maps[image_id] for image_id in ids], titles, strict=True
        )
        return [Located(*one) for one in parts]

    columns = [
        (name, column(order(located, params.pictures))) for name, order in (("clearest", clearest), ("worst", worst))
    ]
    with whole(snakemake.output.picture) as temporary:
        draw_located(columns, method).savefig(temporary, format="png")
    log.info("%d of %d images", params.pictures, len(located))
