"""varc explain."""

import argparse
import json
from pathlib import Path

from varc.command.arguments import classifier_of, show_line
from varc.errors import InputError
from varc.files import whole


def run(given: argparse.Namespace) -> None:
    """Explains the picture: writes the maps as a PNG, and prints the log-likelihoods."""
    against = read_against(given.against)
    found = classifier_of(given).explain(given.picture, given.target, against)
    output = given.output or explained_name(given.picture)
    with whole(output) as temporary:
        found.figure.savefig(temporary, dpi=150, format=output.suffix[1:] or "png")
    if given.json:
        nats = dict(zip(("target", "against", "unconditional"), found.log_likelihoods.tolist(), strict=True))
        told = {"target": found.target, "against": found.against, "log_likelihood": nats, "output": str(output)}
        print(json.dumps({**told, "per_token": found.contrast.tolist()}, indent=1))
        return
    show_line(found.summary)
    show_line(str(output))


def read_against(text: str) -> int | str:
    """The value of --against."""
    if text in ("runner_up", "unconditional"):
        return text
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--against: {text!r}; expected unconditional, runner_up or a class_id") from None


def explained_name(picture: str) -> Path:
    """Where the maps of a picture go: beside a file; of an image_id, into the working folder."""
    path = Path(picture)
    if path.exists():
        return path.with_name(f"{path.stem}_explained.png")
    return Path(f"{''.join(c if c.isalnum() or c in '._-' else '_' for c in path.name)}_explained.png")
