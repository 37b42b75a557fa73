"""Download a checkpoint from its hub, at a pinned revision."""

from job import job

from varc.models.download import download

with job(snakemake) as log:
    hub = snakemake.params.hub
    url = download(snakemake.output.checkpoint, hub["repo"], hub["revision"], snakemake.params.sha256)
    log.info("%s from %s", snakemake.output.checkpoint, url)
