"""How fast a device is at the work of each kind of job, measured before a run."""
