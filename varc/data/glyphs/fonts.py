"""Font files: what they say of themselves, and which face of a family is taken."""

import hashlib
import io
import logging
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fontTools.ttLib import TTFont

from varc.errors import InputError

KINDS = (".otf", ".ttf", ".woff2")
FAMILY, STYLE, LICENCE = (16, 1), (17, 2), (14, 13)  # name IDs, the best first; OpenType 1.9, table `name`
UNUSUAL = re.compile(
    r"small ?caps|smcp|[- ]sc$|swash|initial|inline|shadow|outline|math|caps|titling|unicase|icon|alternat|ornament|"
    r"dingbat|barcode|emoji|symbol",
    re.IGNORECASE,
)


class Face(NamedTuple):
    """One font file. weight: 400 is regular, 700 bold. missing: of the wanted characters, those that it lacks."""

    path: Path
    sha256: str
    family: str
    style: str
    licence: str
    weight: int
    italic: bool
    missing: str


def font_files(folders: Iterable[Path]) -> list[Path]:
    """The font files below some folders. Raises InputError for a folder that is none, and where there are no files."""
    folders = list(folders)
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: is no folder; give folders with {', '.join(KINDS)} files")
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    found = {path for path in files if path.suffix.lower() in KINDS}
    if not found:
        raise InputError(f"{', '.join(map(str, folders))}: no {', '.join(KINDS)} files; give folders that have some")
    return sorted(found)


def sfnt(path: Path) -> io.BytesIO:
    """A font as FreeType reads it: WOFF2 is unpacked."""
    content = path.read_bytes()
    if path.suffix.lower() == ".woff2":
        unpacked = io.BytesIO()
        font = TTFont(io.BytesIO(content))
        font.flavor = None
        font.save(unpacked)
        content = unpacked.getvalue()
    return io.BytesIO(content)


def read_face(path: Path, characters: str) -> Face | str:
    """What a font file says of itself, or why it cannot be read."""
    logging.getLogger("fontTools").setLevel(logging.CRITICAL)  # old fonts break rules that do not matter here
    try:
        content = path.read_bytes()
        with TTFont(io.BytesIO(content), lazy=True, fontNumber=0) as font:
            names, os2 = font["name"], font.get("OS/2")
            family = first_name([names.getDebugName(i) for i in FAMILY], path.stem)
            style = first_name([names.getDebugName(i) for i in STYLE], "")
            licence = first_name([names.getDebugName(i) for i in LICENCE], "")
            coded = font.getBestCmap() or {}
            return Face(
                path,
                hashlib.sha256(content).hexdigest(),
                family,
                style,
                licence[:200],
                int(os2.usWeightClass) if os2 else 400,
                bool(os2 and os2.fsSelection & 1) or bool(re.search("italic|oblique|slanted", style, re.IGNORECASE)),
                "".join(c for c in characters if ord(c) not in coded),
            )
    except Exception as error:  # fontTools raises whatever comes of damaged bytes
        return f"cannot be read: {type(error).__name__}"


def first_name(names: Iterable[str | None], other: str) -> str:
    """The first name with a letter or digit, blanks made single; `other` where there is none."""
    fit = (" ".join(name.split()) for name in names if name and re.search(r"\w", name))
    return next(fit, other)


def chosen_faces(faces: Iterable[Face], most_missing: int) -> list[Face]:
    """Of each family at most three faces: the upright one nearest to regular weight, the nearest to bold, an italic.

    Faces that lack more than `most_missing` characters, or call themselves small capitals, outlined and the like, are
    left out; of files with the same content one stays.
    """
    by_path = sorted(faces, key=lambda face: str(face.path), reverse=True)
    by_content = {face.sha256: face for face in by_path}
    families = defaultdict(list)
    for face in by_content.values():
        if len(face.missing) <= most_missing and not UNUSUAL.search(f"{face.family} {face.style}"):
            families[family_key(face.family)].append(face)
    chosen = []
    for key in sorted(families):
        upright = [face for face in families[key] if not face.italic]
        regular = nearest([face for face in upright if face.weight < 600] or upright, 400)
        bold = nearest([face for face in upright if face.weight >= 600], 700)
        italic = nearest([face for face in families[key] if face.italic], 400)
        chosen += list(dict.fromkeys(regular + bold + italic))
    return chosen


def nearest(faces: list[Face], weight: int) -> list[Face]:
    """The face of the nearest weight that lacks the least, as a list; no face of none."""
    return sorted(faces, key=lambda face: (abs(face.weight - weight), len(face.missing), face.style, face.sha256))[:1]


def family_key(family: str) -> str:
    """A family's name without what tells its members from each other."""
    words = re.sub(r"([a-z])([A-Z][a-z])", r"\1 \2", family).lower()
    return " ".join(re.sub(r"[^a-z0-9]+", " ", words).split())
