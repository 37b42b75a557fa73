"""Measure the rates of this device, or take those that were measured on it before."""

import hashlib
import platform
from pathlib import Path

from job import compute_device, job
from models import FORMS
from shapes import model_configs

from varc.baselines.costs import last_stage_cost, shaped_family
from varc.device import check_precision, device_name, gpu_memory
from varc.planning import Kind
from varc.rates.models import measure
from varc.rates.rivals import measure_stage
from varc.seal import read_json, write_json

CACHE = Path(".snakemake/varc_rates")


def code_digest():
    """Eight digits that change with the library."""
    hashed = hashlib.sha256()
    for path in [*snakemake.input.code, *snakemake.input.families]:
        hashed.update(Path(path).read_bytes())
    return hashed.hexdigest()[:8]


with job(snakemake) as log:
    device = compute_device(snakemake)
    host = "" if device.type == "cuda" else f" of {platform.node()}"
    name = f"{device_name(device)}{host}, {snakemake.threads} threads"
    cache = CACHE / f"{''.join(c if c.isalnum() else '_' for c in name)}-{code_digest()}.json"
    known = read_json(cache) if cache.is_file() else {}
    rates = []
    counted = {}
    for stage_name, stage in snakemake.params.rivals.items():
        family, shape, classes = shaped_family(stage["baseline"], stage["training"])
        stages, candidates = stage["stages"], stage["candidates"]
        counted[stage_name] = last_stage_cost(stage)[:2]
        key = f"{family.__name__} {shape} {classes} {stages} {candidates}"
        if key not in known:
            known[key] = measure_stage(family, shape, classes, stages, candidates, device)
        rates.append({"kind": Kind("score_baseline", stage_name, 0, "float32"), "speed": known[key]})
        log.info("%s: %.1f GFLOP/s", stage_name, known[key][0])
    for *kind, candidates in snakemake.params.kinds:
        kind = Kind(*kind)
        vqvae, var = model_configs(snakemake.params.shapes[kind.model])
        key = f"{kind._replace(model='')} {candidates} {vqvae} {var}"
        if key not in known:
            check_precision(kind.precision, device)
            known[key] = measure(kind, vqvae, var, candidates, device, FORMS)
        rates.append({"kind": kind, "speed": known[key]})
        log.info("%s: %.1f GFLOP/s", " ".join(map(str, kind)), known[key][0])
    write_json(cache, known)
    record = {"device": name, "gpu_memory_bytes": gpu_memory(device), "rates": rates, "counted": counted}
    write_json(snakemake.output.rates, record)
