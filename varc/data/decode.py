"""Pictures from files and bytes."""

import io

import numpy as np
from PIL import Image, ImageFile

from varc.bounded import check_file
from varc.data.found import naming, printable
from varc.errors import InputError
from varc.lookalike import HEAD

REMEDY = "replace it, or take it away"
LARGEST_PICTURE = 2**28  # bytes
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")  # none runs a program


def decoded(source: str | io.BytesIO, name: str) -> Image.Image:
    """A picture from a path or from its bytes. Raises InputError where it cannot be decoded, or has
    levels of which nothing tells how bright they are."""
    head = source.getvalue()[:HEAD] if isinstance(source, io.BytesIO) else None
    with naming(name, "unreadable image", REMEDY, head), opened(source) as image:
        stored = " ".join(str(tile[3]) for tile in image.tile)  # gone once it is loaded
        image.load()
        check_levels(image, name)
        check_depth(image, name, stored)
        return image


def opened(source: str | io.BytesIO) -> ImageFile.ImageFile:
    """A picture whose pixels are not decoded yet. Raises ValueError for what is no file, and a file that is too large,
    Pillow's own errors for another format and for too many pixels."""
    if isinstance(source, str):
        check_file(source, LARGEST_PICTURE)
    Image.init()  # all formats, once; not every build of Pillow has each
    return Image.open(source, formats=[name for name in FORMATS if name in Image.OPEN])


def check_depth(image: Image.Image, name: str, stored: str) -> None:
    """Raises InputError for levels that Pillow takes from another depth than they have: of 16 bits per colour it keeps
    the upper 8, which are all 0 where levels end at 255, and 12 bits it takes for 16. stored: Pillow's raw modes."""
    colours = [band for band in image.getbands() if band not in "AX"]
    if ";12" in stored:
        found = "12 bits"
    elif (
        ";16" in stored and len(image.getbands()) > 1 and not any(image.getchannel(band).getbbox() for band in colours)
    ):
        found = "16 bits per colour, none above 255"
    else:
        return
    raise InputError(f"{printable(name)}: levels of {found}, which would be seen as black; save it with 8 bits")


def check_levels(image: Image.Image, name: str) -> None:
    """Raises InputError for grey levels of more than 8 bits which would be seen as black or white, whatever they show.

    16 and 32 bits are read as 0..65535, floats as 0..255. Levels that end at 255, or at 1, are of another scale.
    """
    if image.mode == "F":
        limits, low, bits = (0.0, 255.0), 1.0, "floats"
    elif image.mode.startswith("I"):
        limits, low, bits = (0, 65535), 255, "16 bits" if ";" in image.mode else "32 bits"
    else:
        return
    levels = np.asarray(image)
    least, most = levels.min(), levels.max()
    if not (least >= limits[0] and most <= limits[1] and (most > low or most == 0)):  # also of NaN
        raise InputError(
            f"{printable(name)}: grey levels from {least:g} to {most:g} in {bits}, where {limits[0]:g} to "
            f"{limits[1]:g} is black to white; save it with 8 bits"
        )
