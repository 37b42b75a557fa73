"""Draw images of every class from a model, as a grid."""

import torch
import torch.nn.functional as F
from job import compute_device, job
from models import read_models
from PIL import Image

from varc.data.classes import class_ids, data_set_classes
from varc.data.tensors import to_pixels
from varc.files import whole
from varc.scoring.sampling import sample_tokens

CLASSES, PER_CLASS = 10, 8
PIXELS = 48  # smaller images are enlarged to about so many

with job(snakemake) as log, torch.inference_mode():
    device = compute_device(snakemake)
    models = read_models(snakemake)
    vqvae, var = models.vqvae.to(device), models.var.to(device)
    classes = list(class_ids(data_set_classes(snakemake.params.dataset)))[:CLASSES]
    generator = torch.Generator().manual_seed(snakemake.params.seed)
    rows = []
    for class_id in classes:
        labels = torch.full((PER_CLASS,), class_id, device=device)
        tokens = sample_tokens(var, vqvae.quantize, labels, generator=generator)
        images = to_pixels(vqvae.decode(vqvae.quantize.dequantize(tokens)))  # (PER_CLASS, H, W, 3)
        framed = F.pad(images, (0, 0, 0, 1, 0, 1), value=128)  # a line to the right and below each
        rows.append(torch.cat(list(framed), dim=1))
    zoom = max(1, PIXELS // vqvae.config.image_size)
    grid = torch.cat(rows).repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
    with whole(snakemake.output.picture) as temporary:
        Image.fromarray(grid.numpy()).save(temporary, "PNG")
    log.info("%d images of %d classes", PER_CLASS * len(classes), len(classes))
