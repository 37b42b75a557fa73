"""Measure the rates of this device, or take those that were measured on it before."""

import hashlib
import json
from pathlib import Path

from job import compute_device, job
from shapes import model_configs

from varc.device import check_precision, device_name
from varc.files import write_text
from varc.planning import Kind
from varc.scoring.rates import measure

CACHE = Path(".snakemake/varc_rates")


def code_digest():
    """Eight digits that change with the library."""
    hashed = hashlib.sha256()
    for path in snakemake.input.code:
        hashed.update(Path(path).read_bytes())
    return hashed.hexdigest()[:8]


with job(snakemake) as log:
    device = compute_device(snakemake)
    name = f"{device_name(device)}, {snakemake.threads} threads"
    cache = CACHE / f"{''.join(c if c.isalnum() else '_' for c in name)}-{code_digest()}.json"
    known = json.loads(cache.read_text()) if cache.is_file() else {}
    rates = []
    for *kind, candidates in snakemake.params.kinds:
        kind = Kind(*kind)
        vqvae, var = model_configs(snakemake.params.shapes[kind.model])
        key = f"{kind._replace(model='')} {candidates} {vqvae} {var}"
        if key not in known:
            check_precision(kind.precision, device)
            known[key] = measure(kind, vqvae, var, candidates, device)
        rates.append({"kind": kind, "speed": known[key]})
        log.info("%s: %.1f GFLOP/s", " ".join(map(str, kind)), known[key][0])
    write_text(cache, json.dumps(known, indent=1))
    write_text(snakemake.output.rates, json.dumps({"device": name, "rates": rates}, indent=1))
