"""varc classify."""

import argparse
import json

from varc.classify.results import Classification
from varc.command.arguments import classifier_of, show_line
from varc.command.text import aligned


def run(given: argparse.Namespace) -> None:
    """Classifies the pictures, and prints what each is."""
    classifier = classifier_of(given)
    found = classifier.classify(given.pictures, given.top, given.ids)
    if given.json:
        print(json.dumps([one.as_dict() for one in found], indent=1))
        return
    for one in found:
        show(one)
    show_line(f"probability: {classifier.probability}")


def show(found: Classification) -> None:
    """Prints what one picture is."""
    best = found.prediction
    ahead = "" if found.margin is None else f", {found.margin:.2f} nats ahead"
    show_line(f"{found.image}: {best.name} (class_id {best.class_id}){ahead}")
    rows = [
        [
            str(one.class_id),
            one.name,
            f"{one.log_likelihood:.2f}",
            "" if one.probability is None else f"{one.probability:.4f}",
            "" if one.fell_at is None else str(one.fell_at),
        ]
        for one in found.classes
    ]
    for line in aligned(["class_id", "name", "log_likelihood", "probability", "fell_at"], rows, right=(0, 2, 3, 4)):
        show_line(f"  {line}")
