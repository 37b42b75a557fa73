"""A picture as a model sees it: prepared by the code, and with the settings, that prepare the images of a run."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from varc.data.decode import decoded
from varc.data.manifest import Listed, opened_images
from varc.data.preprocess import PREPARED, SHORTER, Resize
from varc.errors import InputError, brief
from varc.models.weights import card_path, read_card

Settings = dict[str, Any]  # size, resize, preprocess, border: of a data set's entry, whose other keys change nothing


def model_pixels(
    image: str | Path | Image.Image, side: int, settings: Settings | None = None, name: str | None = None
) -> NDArray[np.uint8]:
    """A picture as a model of so many pixels per side takes it: (side, side, 3).

    settings: those of the data set that it is to be like. Without them an image of the model's size is left as it is,
    and others are resized and cropped to it as by `size` alone. name: in messages. Raises InputError for a file that is
    no picture, and where the settings give another size.
    """
    name = name or ("the image" if isinstance(image, Image.Image) else str(image))
    if not isinstance(image, Image.Image):
        image = decoded(str(image), name)
    if settings is None:
        settings = {} if image.size == (side, side) else {"size": side}
    unshifted = {key: value for key, value in settings.items() if key != "shift"}
    return opened_images(lambda _: image, unshifted, [Listed(name, 0, name)], side)[0]


def given_settings(
    size: int | None, resize: Resize, border: int | None, preprocess: str | None = None
) -> Settings | None:
    """Settings from what was given of them; None where nothing was. Raises InputError for what a config refuses."""
    if preprocess is not None and preprocess not in SHORTER:
        raise InputError(f"preprocess is {brief(preprocess)}; expected {' or '.join(SHORTER)}")
    if preprocess is not None and (size is None or (preprocess == "adm" and resize is not None)):
        needs = "no resize" if size else "a size"
        raise InputError(f"preprocess {preprocess}, size {size or 'absent'}, resize {resize}: it takes {needs}")
    if resize is not None and (size is None or (resize != "none" and resize < size)):
        found = f"resize {resize} and size {size or 'absent'}"
        raise InputError(f"{found}; resize needs a size, and must be none or at least as large")
    for key, value, least in (("size", size, 1), ("border", border, 0)):
        if value is not None and value < least:
            raise InputError(f"{key}: {value} is not a whole number from {least} on")
    given = {"size": size, "resize": resize, "border": border, "preprocess": preprocess}
    return {key: value for key, value in given.items() if value is not None} or None


def trained_settings(vqvae: str | Path) -> Settings | None:
    """How the images were prepared that a VQ-VAE was trained on, from its card.

    None for a public checkpoint, and where they had the model's size to begin with: another picture is to be resized.
    """
    data = read_card(vqvae).get("data", {}) if card_path(vqvae).exists() else {}
    told = {key: data[key] for key in PREPARED if key in data}
    return told if "size" in told or "border" in told else None
