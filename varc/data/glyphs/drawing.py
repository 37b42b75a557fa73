"""Characters of a font as small pictures, white on black."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from varc.data.glyphs.fonts import Face, sfnt

POINTS = 128  # drawn at so many pixels per em, then made smaller
EDGE = 1  # pixels left black on each side
FAINT = 80  # of 255: a character without a pixel as bright as this is blank
LEVELS = 16  # of grey: pictures take two thirds of the bytes that they take with 256


class Ink(NamedTuple):
    """A character at POINTS pixels per em: what is not black, and where that lies from the origin on the baseline."""

    pixels: Image.Image
    left: int
    top: int

    @property
    def right(self) -> int:
        return self.left + self.pixels.width

    @property
    def bottom(self) -> int:
        return self.top + self.pixels.height


def draw(face: Face, characters: str, side: int) -> NDArray[np.uint8] | str:
    """The characters (N, side, side) of a face, all black where it has none; or why it cannot be drawn.

    One scale and one baseline per face: its highest and deepest characters but for a few percent fit into the
    picture. What sticks out is made smaller. The ink is centred from left to right.
    """
    try:
        font = ImageFont.truetype(sfnt(face.path), POINTS, layout_engine=ImageFont.Layout.BASIC)
        found = {c: ink for c in characters if c not in face.missing and (ink := drawn(font, c))}
    except (OSError, ValueError, OverflowError) as error:
        return f"cannot be drawn: {type(error).__name__}"
    if not found:
        return "has blank characters alone"
    top = float(np.percentile([ink.top for ink in found.values()], 4))
    bottom = float(np.percentile([ink.bottom for ink in found.values()], 96))
    pictures = np.zeros((len(characters), side, side), np.uint8)
    for i, character in enumerate(characters):
        if character in found:
            pictures[i] = fitted(found[character], top, bottom, side)
    pictures[pictures.max((1, 2)) < FAINT] = 0
    step = 255 // (LEVELS - 1)
    return np.round(pictures / step).astype(np.uint8) * np.uint8(step)


def drawn(font: ImageFont.FreeTypeFont, character: str) -> Ink | None:
    """A character's ink, None for a blank one."""
    mask, (left, top) = font.getmask2(character, "L", anchor="ls")
    box = mask.getbbox()
    if box is None:
        return None
    pixels = Image.fromarray(np.array(mask, np.uint8).reshape(mask.size[::-1])).crop(box)
    return Ink(pixels, left + box[0], top + box[1])


def fitted(ink: Ink, top: float, bottom: float, side: int) -> NDArray[np.uint8]:
    """A character as a picture (side, side). top, bottom: what the whole face takes; every pixel is the mean of the
    area that it covers."""
    scale = (side - 2 * EDGE) / max(bottom - top, ink.pixels.width, ink.pixels.height)
    whole = side / scale  # the picture, in pixels of the ink
    middle = min(max((top + bottom) / 2, ink.bottom + EDGE / scale - whole / 2), ink.top - EDGE / scale + whole / 2)
    left, upper = (ink.pixels.width - whole) / 2, middle - whole / 2 - ink.top  # of the picture, from the ink's corner
    margin = int(np.ceil(max(-left, -upper, left + whole - ink.pixels.width, upper + whole - ink.pixels.height))) + 1
    canvas = Image.new("L", (ink.pixels.width + 2 * margin, ink.pixels.height + 2 * margin))
    canvas.paste(ink.pixels, (margin, margin))
    x, y = left + margin, upper + margin
    return np.asarray(canvas.resize((side, side), Image.Resampling.BOX, box=(x, y, x + whole, y + whole)))
