"""Explains one picture on the command line: python -m varc.explain IMAGE --vqvae FILE --var FILE."""

import argparse
import logging
import sys
from pathlib import Path

from varc.data.classes import read_class_list
from varc.data.preprocess import Resize
from varc.errors import InputError, in_one_line
from varc.explain.one import explain_image, load_models, trained_settings
from varc.explain.pixels import Settings, given_settings, run_settings


def resize(text: str) -> Resize:
    """The value of --resize."""
    return "none" if text == "none" else int(text)


PARSER = argparse.ArgumentParser(
    prog="python -m varc.explain", description="Where a VAR looks: a picture of TMI maps, in nats, for one image."
)
PARSER.add_argument("image", type=Path)
PARSER.add_argument("--vqvae", required=True, help="weights trained here, or a public checkpoint")
PARSER.add_argument("--var", required=True, help="the same of the VAR")
PARSER.add_argument("--classes", help="a class list (CSV): the candidates, and their names; default: all classes")
PARSER.add_argument("--run", type=Path, help="results/<run>: the image is prepared as those that the run evaluates")
PARSER.add_argument("--size", type=int, help="instead of --run: pixels per side after the centre crop, as in a config")
PARSER.add_argument("--resize", type=resize, help="pixels of the shorter side before the crop, or none, as in a config")
PARSER.add_argument("--border", type=int, help="pixels cropped from each side first, as in a config")
PARSER.add_argument("--target", type=int, help="class_id that is explained; default: the prediction")
PARSER.add_argument("--against", default="runner_up", help="unconditional, runner_up (default) or a class_id")
PARSER.add_argument("--device", default="auto")
PARSER.add_argument("--output", type=Path, help="default: the image's name with _explained.png")


def chosen_settings(given: argparse.Namespace, side: int) -> Settings | None:
    """How the image is prepared: as the options say, or the run, or else the card of the VQ-VAE."""
    own = given_settings(given.size, given.resize, given.border)
    if given.run is None:
        return trained_settings(given.vqvae) if own is None else own
    if own is not None:
        raise InputError("--run says how images are prepared; leave out --size, --resize and --border")
    return run_settings(given.run, given.image, side)


def main() -> None:
    """Reads the arguments, writes the picture, and prints what it shows."""
    given = PARSER.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    classes = read_class_list(given.classes) if given.classes else []
    vqvae, var = load_models(given.vqvae, given.var)
    found = explain_image(
        given.image,
        vqvae,
        var,
        target=given.target,
        against=given.against,
        names={entry.class_id: entry.name for entry in classes},
        device=given.device,
        settings=chosen_settings(given, vqvae.config.image_size),
    )
    output = given.output or given.image.with_name(f"{given.image.stem}_explained.png")
    found.figure.savefig(output, dpi=150)
    print(f"{in_one_line(found.summary)}\n{in_one_line(str(output))}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
