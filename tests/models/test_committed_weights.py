"""The weights in weights/glyphs are what their cards say, fit each other, and read fonts that they have not seen."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from configs import ROOT
from PIL import Image

from varc.files import file_sha256
from varc.models.checkpoints import load_var, load_vqvae
from varc.models.weights import read_card
from varc.scoring.likelihood import score
from varc.scoring.smoothing import clean_tokens

FOLDER = ROOT / "weights" / "glyphs"
VQVAE = FOLDER / "vqvae.safetensors"
VARS = sorted(path for path in FOLDER.glob("*.safetensors") if path != VQVAE)
CPU = torch.device("cpu")
FACE = 100  # pictures, one of each class


@pytest.mark.parametrize("path", [VQVAE, *VARS], ids=lambda path: path.stem)
def test_a_card_is_of_its_file_and_names_its_vqvae(path):
    card = read_card(path)
    assert card["sha256"] == file_sha256(path)
    assert path.stat().st_size < 4e6
    if path != VQVAE:
        assert card["vqvae_sha256"] == file_sha256(VQVAE)


@pytest.fixture(scope="module")
def face():
    """The tokens of one test face, of each class a picture, in the order of the classes."""
    table = pq.read_table(ROOT / "data/glyphs/test/glyphs.parquet").slice(10 * FACE, FACE)
    assert table["label"].to_pylist() == list(range(FACE))
    pictures = [Image.open(io.BytesIO(image["bytes"])).convert("RGB") for image in table["image"].to_pylist()]
    vqvae, _ = load_vqvae(VQVAE)
    return vqvae, clean_tokens(vqvae, np.stack([np.asarray(picture) for picture in pictures]), FACE, CPU)


@pytest.mark.parametrize("path", VARS, ids=lambda path: path.stem)
def test_an_unseen_face_is_read(path, face):
    vqvae, tokens = face
    var, _ = load_var(path)
    chosen = np.arange(0, FACE, 3)
    classes = np.tile(np.arange(FACE, dtype=np.int32), (len(chosen), 1))
    scores = score(var, vqvae.quantize, tokens[chosen], classes, device=CPU).sum(2)
    assert (scores.argmax(1) == chosen).mean() > 0.7  # with 34 pictures; 0.01 by chance
