"""Learn the classes of a data set task by task with a VAR classifier, by one strategy and seed."""

import numpy as np
import torch
from job import compute_device, job, measured
from models import read_models
from shapes import var_config

from varc.data.classes import class_ids, data_set_classes
from varc.freshness import check_made_with
from varc.learning.tasks import accuracies, class_order
from varc.learning.var import Lessons, Training, funnel_predictions, learn_var
from varc.models.var import VAR
from varc.models.vqvae_weights import read_vqvae
from varc.storage import INCREMENTAL, read_labels, read_samples, write_parquet
from varc.training.var import init_weights


def start(class_ids):
    """The VQ-VAE, its SHA-256, and the VAR that learning starts from: random weights, or a public one that forgot the
    classes to be learned."""
    if snakemake.input.var:
        vqvae, var, _, made_with = read_models(snakemake, tokens_read)
        with torch.no_grad():
            var.class_emb.weight[class_ids] = var.class_emb.weight[var.config.num_classes].clone()
        return vqvae, made_with["vqvae_sha256"], var
    vqvae, card = read_vqvae(snakemake.input.vqvae, params.vqvae_checkpoint)
    check_made_with(tokens_read, "vqvae_sha256", card["sha256"], snakemake.input.vqvae)
    torch.manual_seed(seed)
    var = VAR(var_config(train, vqvae.config, class_ids[-1] + 1))
    init_weights(var)
    return vqvae, card["sha256"], var


with job(snakemake) as log:
    device = compute_device(snakemake)
    params, seed = snakemake.params, snakemake.params.seed
    train, cca = params.train, params.cca
    tokens_read = [*snakemake.input.train_tokens, *snakemake.input.test_tokens]
    labels, test_labels = read_labels(snakemake.input.train_manifest), read_labels(snakemake.input.test_manifest)
    ids = class_ids(data_set_classes(params.train_dataset))
    vqvae, vqvae_sha256, var = start(ids)
    quantizer = vqvae.quantize.to(device)
    tasks = class_order(ids, params.tasks, seed)
    files = snakemake.input
    tokens = np.stack(read_samples(list(files.train_tokens), train["samples"], files.train_manifest))
    samples = read_samples(list(files.test_tokens), params.samples, files.test_manifest)

    def predict(learned, which, classes):
        return funnel_predictions(learned, quantizer, [sample[which] for sample in samples], classes, params.funnel)

    with measured(device, len(test_labels), log) as record:
        lessons, training = Lessons(tasks, tokens, labels), Training(train, cca, seed)
        states = learn_var(params.strategy, var.to(device), quantizer, lessons, training)
        found = accuracies(states, tasks, test_labels, predict, log.info)
    made_from = {"train": train, "cca": cca, "funnel": params.funnel, "vqvae_sha256": vqvae_sha256}
    write_parquet(
        snakemake.output.accuracy, found, INCREMENTAL, {**record, "classes": tasks, "seed": seed, **made_from}
    )
