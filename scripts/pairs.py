"""List the pairs of classes that a data set's images are explained by, and look whether they fit it."""

from job import job
from shapes import model_configs

from varc.data.classes import class_ids, data_set_classes
from varc.data.manifest import rows
from varc.explain.contrast import truth
from varc.explain.pairs import check_classes, has_counterparts, listed_pairs, read_pairs
from varc.storage import PAIRS, read_parquet, write_parquet

with job(snakemake) as log:
    spec, path = snakemake.params.dataset, snakemake.input.pairs
    pairs, listed = read_pairs(path), rows(read_parquet(snakemake.input.manifest))
    check_classes(path, pairs, class_ids(data_set_classes(spec)))
    pairs = listed_pairs(path, pairs, listed)
    if has_counterparts(pairs):  # each of which must differ somewhere
        truth(spec, pairs, listed, model_configs(snakemake.params.shape)[0].image_size, path)
    columns = {name: [getattr(pair, name) for pair in pairs] for name in PAIRS.names}
    write_parquet(snakemake.output.pairs, columns, PAIRS, {"images": len(pairs)})
    log.info("%d pairs", len(pairs))
