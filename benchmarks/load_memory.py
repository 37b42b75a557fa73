"""Peak memory of loading a checkpoint: python benchmarks/load_memory.py var.pth [vqvae.pth].

Prints the file's size, the resident peak of a process that loads it, and of one that imports the same and loads
nothing.
"""

import subprocess
import sys
from pathlib import Path

LOAD = """
import resource, sys, time
from varc.models.public import load_public_var, load_public_vqvae
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
for path, load in zip(sys.argv[1:], (load_public_var, load_public_vqvae)):
    load(path, sha256="not computed")
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic() - start)
"""


def main(*paths: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOAD, *paths], capture_output=True, text=True, check=True)
    before, peak, seconds = (float(x) for x in done.stdout.split())
    size = sum(Path(path).stat().st_size for path in paths) / 1e6
    before, peak = before * 1024 / 1e6, peak * 1024 / 1e6
    print(f"files {size:.0f} MB, before {before:.0f} MB, peak {peak:.0f} MB in {seconds:.1f} s")
    print(f"peak / size {peak / size:.2f}, without the imports {(peak - before) / size:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
