"""The arguments of the command, and what its parts share."""

import argparse
from pathlib import Path
from typing import Any

import varc
from varc.errors import in_one_line

EXAMPLES = {
    "classify": (
        "varc classify a.png b.png --run results/glyphs_demo --classifier a_varc_plus\n"
        "varc classify a.png --vqvae weights/glyphs/vqvae.safetensors --var weights/glyphs/var.safetensors \\\n"
        '    --classes data/glyphs/classes.csv --funnel "3x1-keep15 5x1-keep3 5x3" --sigma 0.05'
    ),
    "explain": "varc explain a.png --run results/glyphs_demo --classifier varc --against unconditional",
    "compare": "varc compare results/digits results/digits_again",
    "show": "varc show results/glyphs_demo accuracy adaptive",
}
SUMMARIES = {
    "classify": "the best classes of pictures, by a classifier of a run or by weights",
    "explain": "where a VAR looks: a picture of TMI maps, in nats, for one picture",
    "compare": "paired differences of the classifiers that two runs have, on the same images",
    "show": "the tables of a run",
}


def resize(text: str) -> Any:
    """The value of --resize."""
    return "none" if text == "none" else int(text)


def sigma(text: str) -> Any:
    """The value of --sigma: a number, or e.g. 0.1spread, times the spread of the features of the training images."""
    return {"spread": float(text.removesuffix("spread"))} if text.endswith("spread") else float(text)


def numbers(text: str) -> list[int]:
    """The value of --patch-nums."""
    return [int(part) for part in text.split(",")]


def add_classifier(parser: argparse.ArgumentParser) -> None:
    """The options that say which classifier."""
    run = parser.add_argument_group("a classifier of a run")
    run.add_argument("--run", type=Path, help="the run's folder, results/<run>")
    run.add_argument("--classifier", help="its name; not needed where there is one")
    run.add_argument("--dataset", help="the data set that the pictures are like, where several differ")
    own = parser.add_argument_group("or one of weights")
    own.add_argument("--vqvae", type=Path, help="weights trained here, or a public checkpoint")
    own.add_argument("--var", type=Path, help="the same of the VAR")
    own.add_argument("--classes", type=Path, help="a class list (CSV): the candidates, and their names; default: all")
    own.add_argument("--funnel", help='scales x samples of each stage, as "6x1-keep10 10x1-keep3 10x3"; default: plain')
    own.add_argument("--size", type=int, help="pixels per side after the centre crop, as in a config")
    own.add_argument("--resize", type=resize, help="pixels of the shorter side before the crop, or none")
    own.add_argument("--border", type=int, help="pixels cropped from each side first, as in a config")
    own.add_argument("--preprocess", help="var (default), adm or imagenet, as in a config")
    own.add_argument("--sigma", type=sigma, help="of the noise of samples beyond the first: 0.1, or 0.1spread")
    own.add_argument("--seed", type=int, help="of that noise; default: 0")
    own.add_argument("--patch-nums", type=numbers, help="1,2,3,...: tokens per side of each scale, of no public shape")
    own.add_argument("--norm-groups", type=int, help="of the VQ-VAE, likewise")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")


def classifier_of(given: argparse.Namespace) -> Any:
    """The classifier that the options say."""
    keys = (
        "run", "classifier", "dataset", "vqvae", "var", "classes", "funnel", "size", "resize", "border", "preprocess",
        "sigma", "seed", "patch_nums", "norm_groups", "device",
    )  # fmt: skip
    return varc.load(**{key: getattr(given, key) for key in keys})


def parser() -> argparse.ArgumentParser:
    """All that the command takes."""
    whole = argparse.ArgumentParser(prog="varc", description="Visual autoregressive models as image classifiers.")
    whole.add_argument("--version", action="version", version=varc.__version__)
    parts = whole.add_subparsers(title="commands", dest="part", required=True, metavar="COMMAND")
    made = {
        name: parts.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog="example:\n  " + EXAMPLES[name].replace("\n", "\n  "),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for name, summary in SUMMARIES.items()
    }
    classify = made["classify"]
    classify.add_argument("pictures", nargs="+", metavar="PICTURE", help="a file, or an image_id of the run")
    add_classifier(classify)
    classify.add_argument("--top", type=int, default=5, help="how many classes are shown; default: 5")
    classify.add_argument("--ids", nargs="+", metavar="ID", help="image_ids, which seed noise; default: by the path")
    explain = made["explain"]
    explain.add_argument("picture", metavar="PICTURE", help="a file, or an image_id of the run")
    add_classifier(explain)
    explain.add_argument("--target", type=int, help="class_id that is explained; default: the prediction")
    explain.add_argument("--against", default="runner_up", help="unconditional, runner_up (default) or a class_id")
    explain.add_argument("--output", type=Path, help="default: the picture's name with _explained.png")
    compare = made["compare"]
    compare.add_argument("run", type=Path, metavar="RUN", help="results/<run>")
    compare.add_argument("other", type=Path, metavar="RUN", help="another one, less the first")
    show = made["show"]
    show.add_argument("run", type=Path, metavar="RUN", help="results/<run>")
    show.add_argument("tables", nargs="*", metavar="TABLE", help="names, or all; default: the main one")
    for name in SUMMARIES:
        made[name].add_argument("--json", action="store_true", help="as JSON")
    return whole


def show_line(text: str) -> None:
    """Prints a text in one line, whatever stands in it."""
    print(in_one_line(text))
