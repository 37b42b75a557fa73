"""The benchmark of 100 characters, drawn from fonts that are made here."""

import csv
import io
import shutil
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from PIL import Image

from varc.data.glyphs import CHARACTERS, SIDE
from varc.data.glyphs.__main__ import glyphs, stated_beside, write
from varc.data.glyphs.drawing import draw
from varc.data.glyphs.fonts import Face, chosen_faces, first_name, read_face
from varc.data.glyphs.groups import common_word, grouped, split_groups
from varc.errors import InputError

EM = 1000
BASES = {"Ä": "A", "Å": "A", "Ç": "C", "É": "E", "Ê": "E", "Ñ": "N", "Ö": "O", "Ü": "U"}


def font(path, family, boxes, weight=400, style="Regular", licence="OFL"):
    """A font whose characters are rectangles: boxes: character -> [(x0, y0, x1, y1), ...]."""
    names = {character: f"u{ord(character):04X}" for character in boxes}
    drawn = {".notdef": TTGlyphPen(None).glyph()}
    for character, parts in boxes.items():
        pen = TTGlyphPen(None)
        for x0, y0, x1, y1 in parts:
            pen.moveTo((x0, y0))
            for corner in ((x0, y1), (x1, y1), (x1, y0)):
                pen.lineTo(corner)
            pen.closePath()
        drawn[names[character]] = pen.glyph()
    made = FontBuilder(EM, isTTF=True)
    made.setupGlyphOrder(list(drawn))
    made.setupCharacterMap({ord(character): name for character, name in names.items()})
    made.setupGlyf(drawn)
    made.setupHorizontalMetrics(dict.fromkeys(drawn, (EM, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": family, "styleName": style, "licenseDescription": licence})
    made.setupOS2(usWeightClass=weight, fsSelection=int("Italic" in style))
    made.setupPost()
    made.save(path)
    return path


def alphabet(seed, characters=CHARACTERS):
    """Random blocks: each character its own, the same in every alphabet but for some that depend on the seed."""
    shapes, own = np.random.default_rng(0), np.random.default_rng(seed)
    blocks = {character: shapes.random((7, 5)) < 0.5 for character in CHARACTERS}
    for accented, base in BASES.items():
        blocks[accented] = np.concatenate([blocks[accented][:2], blocks[base][2:]])
        blocks[base][:2] = False
    found = {}
    for character in characters:
        cells = blocks[character].copy()
        changed = own.random(cells.shape) < 0.07
        cells[2:][changed[2:]] ^= True
        cells[6, 0] = cells[6, 4] = True
        rows, columns = np.nonzero(cells)
        found[character] = [
            (120 * c, 720 - 120 * r, 120 * c + 120, 840 - 120 * r) for r, c in zip(rows, columns, strict=True)
        ]
    return found


@pytest.fixture(scope="module")
def fonts(tmp_path_factory):
    """Twenty families, one with two faces and a twin under another name; symbols; damaged bytes; a WOFF2."""
    folder = tmp_path_factory.mktemp("fonts")
    for i in range(20):
        font(folder / f"f{i}.ttf", f"Family{i:02d} Text", alphabet(i + 1))
    font(folder / "f0b.ttf", "Family00 Text", alphabet(101), 700, "Bold")
    font(folder / "twin.ttf", "Another Name", alphabet(2), licence="MIT")  # as Family01
    shutil.copy(folder / "f3.ttf", folder / "copy.ttf")
    mirrored = {c: [(600 - x1, 840 - y1, 600 - x0, 840 - y0) for x0, y0, x1, y1 in b] for c, b in alphabet(7).items()}
    font(folder / "symbols.ttf", "Pictures", mirrored)
    font(folder / "few.ttf", "Few Signs", alphabet(50, CHARACTERS[:-10]))
    font(folder / "fewer.ttf", "Fewer Signs", alphabet(51, CHARACTERS[:-20]))
    (folder / "damaged.ttf").write_bytes((folder / "f1.ttf").read_bytes()[:300])
    woff = TTFont(folder / "f2.ttf")
    woff.flavor = "woff2"
    (folder / "below").mkdir()
    woff.save(folder / "below" / "f2.woff2")
    (folder / "f2.ttf").unlink()
    return folder


@pytest.fixture(scope="module")
def made(fonts):
    return glyphs([fonts], 1)


def test_what_is_left_out_is_counted(fonts, made):
    drawn, left_out = made
    families = {one.face.family for one in drawn}
    assert families >= {"Few Signs"} and not families & {"Fewer Signs", "Pictures"}
    assert left_out["shows symbols"] == 1
    assert left_out["looks like another face"] == 1
    assert sum(number for reason, number in left_out.items() if reason.startswith("cannot be read")) == 1
    assert len(drawn) + left_out.total() == len([path for path in fonts.rglob("*.*") if path.is_file()])


def test_groups_are_in_one_split_and_held_out_faces_complete(made):
    drawn, _ = made
    splits = {}
    for one in drawn:
        splits.setdefault(one.group, set()).add(one.split)
        if one.split != "train":
            assert (one.pictures.max((1, 2)) > 0).all()
    assert all(len(own) == 1 for own in splits.values())
    (few,) = (one for one in drawn if one.face.family == "Few Signs")
    assert few.split == "train"
    assert [(p.max() > 0) for p in few.pictures] == [True] * 90 + [False] * 10
    (one, other) = (one for one in drawn if one.face.family == "Family00 Text")
    assert one.group == other.group


def test_the_same_files_make_the_same_bytes_wherever_they_lie(fonts, made, tmp_path):
    there = tmp_path / "elsewhere" / "deep"
    there.mkdir(parents=True)
    for i, path in enumerate(sorted(fonts.rglob("*.*f*"), reverse=True)):
        shutil.copy(path, there / f"{i:03d}{path.suffix}")
    moved, _ = glyphs([tmp_path / "elsewhere"], 2)
    write(tmp_path / "one", made[0], [fonts])
    write(tmp_path / "other", moved, [tmp_path / "elsewhere"])
    for split in ("train", "validation", "calibration", "test"):
        one, other = (pq.read_table(tmp_path / name / split / "glyphs.parquet") for name in ("one", "other"))
        assert one.num_rows > 0
        for column in ("label", "group"):
            assert one[column].equals(other[column])
        one, other = ([row["bytes"] for row in table["image"].to_pylist()] for table in (one, other))
        assert one == other


def test_what_is_written_is_read_back(fonts, made, tmp_path):
    drawn, _ = made
    counts = write(tmp_path, drawn, [fonts])
    table = pq.read_table(tmp_path / "test" / "glyphs.parquet").to_pylist()
    own = [one for one in drawn if one.split == "test"]
    assert counts["test"] == len(table) == 100 * len(own)
    for i in (0, 57, len(table) - 1):
        found = np.asarray(Image.open(io.BytesIO(table[i]["image"]["bytes"])))
        assert np.array_equal(found, own[i // 100].pictures[table[i]["label"]])
        assert table[i]["group"] == own[i // 100].group
        assert table[i]["image"]["path"].endswith(f"/{ord(CHARACTERS[table[i]['label']]):04x}.png")
    with open(tmp_path / "fonts.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["sha256"] for row in rows] == [one.face.sha256 for one in drawn]
    assert {row["licence"] for row in rows} <= {"OFL", "MIT"}
    assert "below/f2.woff2" in {row["file"] for row in rows}
    with open(tmp_path / "classes.csv", newline="", encoding="utf-8") as file:
        assert [row["name"] for row in csv.DictReader(file)] == list(CHARACTERS)


def test_woff2_draws_what_its_ttf_draws(fonts, tmp_path):
    plain = font(tmp_path / "plain.ttf", "Plain", alphabet(3))
    faces = [read_face(path, CHARACTERS) for path in (plain, fonts / "below" / "f2.woff2")]
    one, other = (draw(face, CHARACTERS, SIDE) for face in faces)
    assert np.array_equal(one, other)


def test_a_rectangle_covers_the_pixels_that_it_should(tmp_path):
    # 750 units high and 375 wide: 30 pixels high, 15 wide, in the middle; the half pixels are half grey.
    boxes = {character: [(100, 0, 475, 750)] for character in CHARACTERS[:30]} | {"B": [(0, 0, 50, 375)]}
    path = font(tmp_path / "box.ttf", "Box", boxes)
    tall, short = draw(read_face(path, CHARACTERS[:30]), CHARACTERS[:30], SIDE)[:2].astype(int)
    assert np.array_equal(tall[1:31, 9:23], np.full((30, 14), 255))
    assert tall[[0, 31]].max() == 0 and tall[:, :8].max() == 0 and tall[:, 24:].max() == 0
    assert np.abs(tall[1:31, [8, 23]] - 127.5).max() <= 20
    # One baseline: the shorter one stands where the taller stands.
    assert np.abs(short[16:31].sum(1) / 255 - 2).max() < 0.25 and short[:16].max() == 0 and short[31].max() == 0


def test_grey_levels_are_sixteen(made):
    assert {int(level) for one in made[0][:5] for level in np.unique(one.pictures)} <= set(range(0, 256, 17))


def face(family, style="Regular", weight=400, italic=False, missing="", sha256=None):
    return Face(None, sha256 or f"{family}{style}", family, style, "", weight, italic, missing)


def test_of_a_family_a_regular_a_bold_and_an_italic_face_are_taken():
    family = [
        face("Serif", "Light", 300), face("Serif"), face("Serif", "Black", 900), face("Serif", "Bold", 700),
        face("Serif", "Italic", italic=True), face("Serif", "Bold Italic", 700, True), face("Serif Small Caps"),
        face("Sans", "Thin", 100), face("Sans", "Medium", 500), face("Mono", missing="ab"), face("Poor", missing="abc"),
    ]  # fmt: skip
    for order in (family, family[::-1]):
        found = chosen_faces(order, 2)
        assert [(one.family, one.style) for one in found] == [
            ("Mono", "Regular"), ("Sans", "Medium"), ("Serif", "Regular"), ("Serif", "Bold"), ("Serif", "Italic"),
        ]  # fmt: skip


def test_names_without_letters_are_no_names():
    assert first_name([".", None, "Roboto  Slab"], "x") == "Roboto Slab"
    assert first_name([None, " "], "stem") == "stem"


def test_groups_join_by_name_and_by_looks():
    alike = np.eye(5, dtype=np.float32)
    alike[1, 3] = alike[3, 1] = 0.95
    families = ["Open Sans", "Open Mono", "Lato", "LatoWide", "Lato Light"]
    # "Open" alone says too little; LatoWide looks like Open Mono, and shares its first word with the other two.
    assert grouped(families, alike) == ["Open Sans", "Lato", "Lato", "Lato", "Lato"]
    assert common_word("TeX Gyre Heros") == "tex gyre"
    assert common_word("DejaVu Sans") == "deja"


def test_splits_hold_out_small_groups_with_a_complete_face():
    groups = [f"g{i}" for i in range(100)] + ["large"] * 9 + ["lacking"] * 2
    splits = split_groups(groups, [True] * 109 + [False] * 2)
    assert Counter(splits.values()) == {"test": 26, "calibration": 64, "validation": 10, "train": 2}
    assert splits["large"] == splits["lacking"] == "train"
    assert split_groups(groups[::-1], [False] * 2 + [True] * 109) == splits


def test_folders_without_enough_fonts_are_errors(tmp_path):
    folder = tmp_path / "fonts"
    with pytest.raises(InputError, match="fonts: is no folder"):
        glyphs([folder], 1)
    folder.mkdir()
    with pytest.raises(InputError, match=r"fonts: no \.otf, \.ttf, \.woff2 files"):
        glyphs([folder], 1)
    for i in range(3):
        font(folder / f"{i}.ttf", f"Family{i}", alphabet(i))
    with pytest.raises(InputError, match="fonts: too few fonts, none for train"):
        glyphs([folder], 1)


def test_a_font_that_states_no_licence_has_that_of_its_package(tmp_path):
    package = tmp_path / "fonts-plain"
    (package / "usr/share/fonts").mkdir(parents=True)
    (package / "usr/share/doc/fonts-plain").mkdir(parents=True)
    own = font(package / "usr/share/fonts/plain.ttf", "Plain", {"A": [(0, 0, 100, 700)]}, licence="")
    assert read_face(own, "A").licence == ""
    assert stated_beside(tmp_path, own.relative_to(tmp_path)) == ""
    (package / "usr/share/doc/fonts-plain/copyright").write_text("free")
    assert stated_beside(tmp_path, own.relative_to(tmp_path)) == "fonts-plain/usr/share/doc/fonts-plain/copyright"
