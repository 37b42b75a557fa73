"""Fine-tune a VAR on cached tokens, in one process or several."""

from pathlib import Path

from job import job

from varc.data.classes import class_ids, data_set_classes
from varc.training.finetune_files import finetune_files, finetune_in_processes

with job(snakemake) as log:
    settings, params = dict(snakemake.params.settings), snakemake.params
    processes = snakemake.resources.processes
    validation = None
    if params.validation_dataset:
        validation = {
            "manifest": snakemake.input.validation_manifest,
            "tokens": list(snakemake.input.validation_tokens),
            "class_ids": list(class_ids(data_set_classes(params.validation_dataset))),
            "every": settings["validate_every"],
            "images": settings.get("validate_images"),
        }
    request = {
        "settings": settings,
        "seed": params.seed,
        "device": snakemake.resources.device,
        "threads": max(1, snakemake.threads // processes),
        "manifest": snakemake.input.manifest,
        "tokens": list(snakemake.input.tokens),
        "validation": validation,
        **{part: snakemake.input[part] for part in ("vqvae", "var")},
        **{f"{part}_checkpoint": params[f"{part}_checkpoint"] for part in ("vqvae", "var")},
        **{name: snakemake.output[name] for name in ("weights", "curve", "plot")},
        "checkpoint": str(Path(snakemake.output.weights).with_name("finetune.checkpoint")),
    }
    if processes == 1:
        finetune_files(request, log.info)
    else:
        finetune_in_processes(request, processes, log.info)
