"""The exact forms of attention and of log p, by shape: python benchmarks/forms.py [--device cuda] [--threads 1].

Milliseconds of a block's attention for a batch as the engine's, and of log p of the positions whose logits exist at a
time; the least of a few alternating runs (varc.scoring.forms). Random numbers.
"""

import argparse

import torch
from random_models import public_shape

from varc.device import check_precision, device_name
from varc.errors import InputError
from varc.models.var import VAR, VARConfig
from varc.scoring.forms import seconds_of_forms

GLYPHS = VARConfig(4, 64, 4, 100, 512, 8, (1, 2, 3, 5, 8))
FASHION = VARConfig(4, 128, 4, 10, 512, 16, (1, 2, 3, 4, 5, 7))


def measure(name: str, var: VAR, precision: str, device: torch.device) -> None:
    """Prints the line of a shape in a precision, or why there is none."""
    try:
        check_precision(precision, device)
    except InputError as problem:
        print(f"| {name} | {precision} | {problem} |")
        return
    found = seconds_of_forms(var, var.config.patch_nums, precision, device)
    cells = [f"{form} {1e3 * seconds:.2f}" for part in found for form, seconds in part.items()]
    print("| " + " | ".join([name, precision, *cells]) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    device = torch.device(given.device)
    torch.set_num_threads(given.threads)
    print(f"{device_name(device)}, {given.threads} threads, ms")
    d16 = public_shape("var_d16")[1]
    for name, config in {"glyphs": GLYPHS, "fashion": FASHION, "d16": d16}.items():
        with torch.device("meta"):
            var = VAR(config)
        for precision in ("float32", "bf16"):
            measure(name, var, precision, device)


if __name__ == "__main__":
    main()
