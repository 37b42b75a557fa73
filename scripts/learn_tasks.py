"""Learn the classes of a data set task by task, by one strategy and seed."""

import numpy as np
import torch
from job import job, measured
from shapes import var_config

from varc.data.classes import class_ids, data_set_classes
from varc.data.manifest import load_images, rows
from varc.data.preprocess import to_input
from varc.models.var import VAR
from varc.models.weights import read_var, read_vqvae
from varc.storage import INCREMENTAL, read_parquet, read_tokens, write_parquet
from varc.training.incremental import (
    DISCRIMINATIVE,
    accuracy_rows,
    class_order,
    convnet_predictions,
    funnel_predictions,
    learn_convnet,
    learn_var,
)
from varc.training.var import init_weights


def labels_of(kind):
    return read_parquet(snakemake.input[f"{kind}_manifest"])["label"].to_numpy().astype(np.int64)


def images_of(kind, size):
    listed = rows(read_parquet(snakemake.input[f"{kind}_manifest"]))
    return to_input(load_images(params[f"{kind}_dataset"], listed, size))


def samples_of(kind, samples):
    """Tokens (N, L) of each sample."""
    paths = list(snakemake.input[f"{kind}_tokens"])
    shards = len(paths) // samples
    return [read_tokens(paths[i : i + shards]) for i in range(0, len(paths), shards)]


with job(snakemake) as log:
    torch.set_num_threads(snakemake.threads)
    params, seed = snakemake.params, int(snakemake.wildcards.seed)
    train, cca, strategy = params.train, params.cca, snakemake.wildcards.strategy
    vqvae, card = read_vqvae(snakemake.input.vqvae, params.vqvae_checkpoint)
    labels, test_labels = labels_of("train"), labels_of("test")
    ids = class_ids(data_set_classes(params.train_dataset))
    tasks = class_order(ids, int(snakemake.wildcards.tasks), seed)

    def steps_of(images, kind="train"):
        return max(1, round((train if kind == "train" else cca)["steps"] * images / len(labels)))

    with measured(torch.device("cpu"), len(test_labels), log) as record:
        if strategy in DISCRIMINATIVE:
            size = vqvae.config.image_size
            test_images = images_of("test", size)
            states = learn_convnet(strategy, tasks, images_of("train", size), labels, steps_of, seed)
        else:
            samples = samples_of("test", params.samples)
            if snakemake.input.var:
                start, _ = read_var(snakemake.input.var, params.var_checkpoint)
            else:
                torch.manual_seed(seed)
                start = VAR(var_config(train, vqvae.config, ids[-1] + 1))
                init_weights(start)
            tokens = np.stack(samples_of("train", train["samples"]))
            states = learn_var(strategy, tasks, start, vqvae.quantize, tokens, labels, train, cca, steps_of, seed)
        found = []
        for after, state in enumerate(states):
            seen = sorted(c for task in tasks[: after + 1] for c in task)
            which = np.isin(test_labels, seen)
            if strategy in DISCRIMINATIVE:
                predictions = convnet_predictions(state, test_images[torch.from_numpy(which)], seen)
            else:
                predictions = funnel_predictions(
                    state, vqvae.quantize, [s[which] for s in samples], seen, params.funnel
                )
            found += accuracy_rows(after, tasks, test_labels[which], predictions)
            log.info(
                "after task %d: %s",
                after + 1,
                [round(row["accuracy"], 4) for row in found if row["after_task"] == after],
            )
    columns = {name: [row[name] for row in found] for name in INCREMENTAL.names}
    write_parquet(
        snakemake.output.accuracy,
        columns,
        INCREMENTAL,
        {**record, "classes": tasks, "seed": seed, "train": train, "cca": cca, "vqvae_sha256": card["sha256"]},
    )
