"""What loading images ahead of the device saves: python benchmarks/prefetch.py.

A folder of JPEGs of ImageNet's usual 500 x 375 pixels, made for this, is loaded at 256 pixels in batches of 16, as for
the public models. The device sleeps for a share of the time that a batch takes to load, as a GPU leaves the processor
alone. Seconds in turn (a batch is loaded, then the device has it) over seconds with threads; the runs alternate, and
figures are medians over the repeats, with the range.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from varc.data.manifest import Listed, load_images
from varc.planning import images_at_once
from varc.prefetch import BATCHES_AHEAD, ahead

SIDE = 256
SHARES = (1.0, 0.5, 0.25)  # seconds of the device per second of loading, both of one batch
THREADS = (1, 2, 4)


def write_pictures(folder: Path, count: int) -> list[Listed]:
    """Pictures as smooth as photographs are, and their rows of a manifest."""
    random, rows = np.random.default_rng(0), []
    for i in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (47, 63, 3), np.uint8))
        path = folder / f"{i}.jpg"
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
        rows.append(Listed(path.name, 0, str(path)))
    return rows


def seconds(batches: Iterable[object], device: float) -> float:
    """Seconds until the device, which takes so many for each, has had all batches."""
    start = time.perf_counter()
    for _ in batches:
        time.sleep(device)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batches", type=int, default=24)
    arguments = parser.parse_args()
    size = images_at_once(SIDE)
    with tempfile.TemporaryDirectory() as folder:
        rows = write_pictures(Path(folder), size * arguments.batches)
        parts = [rows[i : i + size] for i in range(0, len(rows), size)]
        load = partial(load_images, {"reader": "image_folder", "root": folder, "size": SIDE}, side=SIDE)
        print("| device / loading |", " | ".join(f"{n} thread{'s' * (n > 1)}" for n in THREADS), "|")
        print("| --- |", " | ".join("---" for _ in THREADS), "|")
        for share in SHARES:
            ratios: dict[int, list[float]] = {n: [] for n in THREADS}
            for _ in range(arguments.repeats):
                device = share * seconds(map(load, parts), 0.0) / len(parts)
                in_turn = seconds(map(load, parts), device)
                for n in THREADS:
                    ratios[n].append(in_turn / seconds(ahead(load, parts, n, BATCHES_AHEAD), device))
            cells = [f"{statistics.median(r):.2f} ({min(r):.2f} to {max(r):.2f})" for r in ratios.values()]
            print(f"| {share:g} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
