"""Learn the classes of a data set task by task with a convolutional network, by one strategy and seed."""

import torch
from job import compute_device, job, measured

from varc.baselines.convnet import convnet_predictions
from varc.data.classes import class_ids, data_set_classes
from varc.data.manifest import load_images, rows
from varc.data.tensors import to_input
from varc.learning.convnet import learn_convnet
from varc.learning.tasks import accuracies, class_order, share_of_steps
from varc.storage import INCREMENTAL, read_labels, read_parquet, write_parquet


def images_of(kind):
    listed = rows(read_parquet(snakemake.input[f"{kind}_manifest"]))
    return to_input(load_images(params[f"{kind}_dataset"], listed, params.size)).to(device)


with job(snakemake) as log:
    device = compute_device(snakemake)
    params, seed = snakemake.params, snakemake.params.seed
    labels, test_labels = read_labels(snakemake.input.train_manifest), read_labels(snakemake.input.test_manifest)
    images, test_images = images_of("train"), images_of("test")
    ids = class_ids(data_set_classes(params.train_dataset))
    tasks = class_order(ids, params.tasks, seed)

    def predict(net, which, classes):
        return convnet_predictions(net, test_images[torch.from_numpy(which)], classes)

    with measured(device, len(test_labels), log) as record:
        states = learn_convnet(
            params.strategy,
            tasks,
            images,
            labels,
            lambda found: share_of_steps(params.train, found, len(labels)),
            seed,
        )
        found = accuracies(states, tasks, test_labels, predict, log.info)
    made_from = {"classes": tasks, "seed": seed, "train": params.train}
    write_parquet(snakemake.output.accuracy, found, INCREMENTAL, {**record, **made_from})
