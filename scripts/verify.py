"""Read all that a run was made from, and all that it made, again, and stop where something no longer fits."""

from job import job

from varc.errors import InputError
from varc.seal import read_json
from varc.verify import files_of, verify

with job(snakemake) as log:
    params = snakemake.params
    found = []
    for line in verify(params.folder, read_json(params.began), params.stamps):
        log.error(line)
        found.append(line)
    if found:
        raise InputError(f"{params.folder}: {len(found)} things do not fit, all in {snakemake.log[0]}: {found[0]}")
    log.info("%d files of %s fit", len(files_of(params.folder)), params.folder)
