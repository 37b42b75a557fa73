"""Draw explanations of some right predictions, chosen by a seeded order, and of the wrong ones with the smallest and
the largest margins."""

import numpy as np
from job import job
from shapes import model_configs

from varc.data.classes import data_set_classes
from varc.data.manifest import load_images, rows
from varc.explain.gallery import gallery
from varc.explain.picture import Row, draw, scale_panels, whole_panel
from varc.explain.tmi import explained_order, tmi
from varc.files import whole
from varc.scoring.labelled import is_right, read_labelled_scores
from varc.storage import column_matrix, image_ids, read_parquet


def read_tokens_of(role):
    """image_id -> log p of each token (L,) under the role's class."""
    tables = [read_parquet(path) for path in snakemake.input[role]]
    return {
        image_id: log_prob
        for table in tables
        for image_id, log_prob in zip(image_ids(table), column_matrix(table, "log_prob"), strict=True)
    }


def explanation(image, i):
    """The picture's row of the image at position i of the manifest."""
    row, order = listed[i], np.argsort(-scores[i], kind="stable")
    label, own = np.searchsorted(class_ids, row.label), scores[i]
    wrong = order[order != label][0]

    def between(one, other):
        return tmi([tokens[one][row.image_id][None]], [tokens[other][row.image_id][None]])[0]

    of_label = between("label", "unconditional")
    title = (
        f"{names[row.label]}, seen as {names[int(class_ids[order[0]])]}\nlog p(x|y) {own[label]:.1f}, "
        f"next {own[wrong]:.1f}\nmargin {own[label] - own[wrong]:+.1f} nats"
    )
    maps = [
        whole_panel("label", of_label, patch_nums),
        whole_panel("prediction", between("prediction", "unconditional"), patch_nums),
        whole_panel(f"label, not {names[int(class_ids[wrong])]}", between("label", "wrong"), patch_nums),
        *scale_panels(of_label, patch_nums),
    ]
    return Row(image, title, maps)


with job(snakemake) as log:
    params = snakemake.params
    vqvae, var = model_configs(params.shape)
    patch_nums = var.patch_nums
    listed = rows(read_parquet(snakemake.input.manifest))
    names = {entry.class_id: entry.name for entry in data_set_classes(params.dataset)}
    known = read_labelled_scores(snakemake.input.manifest, snakemake.input.scores)
    scores, class_ids = known.samples[0], known.class_ids
    tokens = {role: read_tokens_of(role) for role in ("label", "prediction", "unconditional", "wrong")}
    right = is_right(scores.argmax(1), known.own)
    order = [
        i
        for i in explained_order([row.image_id for row in listed], params.seed)
        if listed[i].image_id in tokens["label"]
    ]
    of_label, of_others = (np.where(mask, scores, -np.inf).max(1) for mask in (known.own, ~known.own))
    chosen = gallery(of_label - of_others, right, order, params.pictures)
    images = load_images(params.dataset, [listed[i] for i in chosen], vqvae.image_size)
    figure = draw([explanation(image, i) for image, i in zip(images, chosen, strict=True)])
    with whole(snakemake.output.picture) as temporary:
        figure.savefig(temporary, format="png")
    log.info("%d images", len(chosen))
