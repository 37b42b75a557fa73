"""What a killed job goes on from."""

import torch

from varc.device import device_name
from varc.parts import Parts

RESOURCES = ("batch_size", "shards")  # that a result may depend on


def job_parts(snakemake, output, device, **facts):
    """The parts of the job that writes `output`. facts: what its result depends on beside the rule's inputs, params and
    code, which count anyway: weights by their SHA-256, and the precision."""
    resources = {name: snakemake.resources.get(name) for name in RESOURCES}
    place = {"threads": torch.get_num_threads(), "cpu": torch.backends.cpu.get_cpu_capability()}
    return Parts(output, {"device": device_name(device), **place, **resources, **facts})
