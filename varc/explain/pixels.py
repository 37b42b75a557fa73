"""A picture as a model sees it: prepared by the code, and with the settings, that prepare the images of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from varc.data.decode import decoded
from varc.data.manifest import Listed, opened_images
from varc.data.preprocess import Resize
from varc.errors import InputError
from varc.yaml_bounds import read_bounded

Settings = dict[str, Any]  # size, resize, preprocess, border: of a data set's entry, whose other keys change nothing
RECORD = "config.yaml"  # of a run: the config that made it


def model_pixels(image: str | Path | Image.Image, side: int, settings: Settings | None = None) -> NDArray[np.uint8]:
    """A picture as a model of so many pixels per side takes it: (side, side, 3).

    settings: those of the data set that it is to be like. Without them an image of the model's size is left as it is,
    and others are resized and cropped to it as by `size` alone. Raises InputError for a file that is no picture, and
    where the settings give another size.
    """
    name = "the image" if isinstance(image, Image.Image) else str(image)
    if not isinstance(image, Image.Image):
        image = decoded(name, name)
    if settings is None:
        settings = {} if image.size == (side, side) else {"size": side}
    unshifted = {key: value for key, value in settings.items() if key != "shift"}
    return opened_images(lambda _: image, unshifted, [Listed(name, 0, name)], side)[0]


def given_settings(size: int | None, resize: Resize, border: int | None) -> Settings | None:
    """Settings from what was given of them; None where nothing was. Raises InputError for what a config refuses."""
    if resize is not None and (size is None or (resize != "none" and resize < size)):
        found = f"--resize {resize} and --size {size or 'absent'}"
        raise InputError(f"{found}; --resize needs --size, and must be none or at least as large")
    for option, value, least in (("--size", size, 1), ("--border", border, 0)):
        if value is not None and value < least:
            raise InputError(f"{option}: {value} is not a whole number from {least} on")
    given = {"size": size, "resize": resize, "border": border}
    return {key: value for key, value in given.items() if value is not None} or None


def run_settings(folder: Path, image: str | Path | Image.Image, side: int) -> Settings:
    """The settings of the data sets that a run evaluates or explains, for a model of so many pixels per side.

    Raises InputError where the run has no record of its config, or its data sets would prepare the picture in several
    ways.
    """
    config = read_record(folder)
    names = sorted({name for part in ("evaluate", "explain") for e in config.get(part, []) for name in e["datasets"]})
    entries = {name: config["datasets"][name] for name in names if name in config["datasets"]}
    fitting = {name: entry for name, entry in entries.items() if entry.get("size", side) == side}
    if not fitting:
        raise InputError(f"{folder / RECORD}: no data set has size {side}, which the model takes; give another --run")
    (first, settings), *others = fitting.items()
    pixels = model_pixels(image, side, settings)
    for name, entry in others:
        if not np.array_equal(pixels, model_pixels(image, side, entry)):
            both = f"data sets {first} and {name} differ in size, resize, preprocess or border"
            raise InputError(f"{folder / RECORD}: {both}; give --size, --resize and --border instead of --run")
    return settings


def read_record(folder: Path) -> dict[str, Any]:
    """The config that made a run, from its folder. Raises InputError where it is absent or damaged."""
    try:
        found = yaml.safe_load(read_bounded(folder / RECORD))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / RECORD}: cannot be read ({reason}); give --run the folder of a run") from None
    if not isinstance(found, dict) or not {"datasets", "evaluate"} <= found.keys():
        raise InputError(f"{folder / RECORD}: is no config of a run; give --run the folder of a run")
    return found
