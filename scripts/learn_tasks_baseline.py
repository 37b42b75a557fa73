"""Learn the classes of a data set task by task with a rival classifier, by one strategy and seed."""

import numpy as np
from job import compute_device, job, measured

from varc.baselines.family import Images, family, settings
from varc.data.classes import class_ids, data_set_classes
from varc.data.manifest import load_images, rows
from varc.learning.families import learn_family, staged_predictions
from varc.learning.tasks import accuracies, class_order
from varc.storage import INCREMENTAL, read_labels, read_parquet, write_parquet


def images_of(part):
    """Pixels, labels and image_ids of the images to learn, or of those to be tested on."""
    manifest = snakemake.input[f"{part}_manifest"]
    listed = rows(read_parquet(manifest))
    pixels = load_images(params[f"{part}_dataset"], listed, entry["shape"]["image_size"])
    return pixels, read_labels(manifest), np.array([row.image_id for row in listed], dtype=object)


with job(snakemake) as log:
    device = compute_device(snakemake)
    params, entry, seed = snakemake.params, snakemake.params.baseline, snakemake.params.seed
    kind = family(entry["family"])
    training = settings(kind.Training, entry["train"], but="data")
    scorings = [settings(kind.Scoring, stage, but="keep") for stage in params.stages]
    keep = [stage.get("keep", 1) for stage in params.stages]
    (images, labels, _), (pixels, test_labels, ids) = images_of("train"), images_of("test")
    tasks = class_order(class_ids(data_set_classes(params.train_dataset)), params.tasks, seed)

    def predict(model, which, classes):
        tested = Images(pixels[which], ids[which], seed)
        return staged_predictions(kind, model, tested, classes, scorings, keep)

    with measured(device, len(test_labels), log) as record:
        shape, strategy = settings(kind.Shape, entry["shape"]), params.strategy
        states = learn_family(strategy, kind, tasks, shape, training, images, labels, seed, device)
        found = accuracies(states, tasks, test_labels, predict, log.info)
    made_from = {"classes": tasks, "seed": seed, "baseline": entry, "stages": params.stages}
    write_parquet(snakemake.output.accuracy, found, INCREMENTAL, {**record, **made_from})
