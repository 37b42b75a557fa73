import json

import pyarrow.parquet as pq
import pytest

from varc.errors import InputError
from varc.freshness import check_agree, check_fresh, check_made_with, check_models
from varc.origin import begin_job, making
from varc.storage import CANDIDATES, provenance, write_parquet

COLUMNS = {"image_id": ["a"], "class_id": [1], "rank": [1], "score": [0.5]}


pytestmark = pytest.mark.usefixtures("no_job")


def write(path, **record):
    write_parquet(path, COLUMNS, CANDIDATES, record)
    return str(path)


def test_a_file_says_what_it_is_made_from(tmp_path):
    first = write(tmp_path / "first.parquet")
    code = tmp_path / "code.py"
    code.write_text("1")
    weights = tmp_path / "var.safetensors"
    begin_job("prune", {"shard": "0"}, {"keep": 3, "noise": (0.1, 2)}, [first, str(code), str(weights)], [str(code)])
    second = write(tmp_path / "second.parquet")
    record = json.loads(pq.read_schema(second).metadata[b"varc"])["made_from"]
    assert (record["rule"], record["wildcards"], record["params"]) == (
        "prune",
        {"shard": "0"},
        {"keep": 3, "noise": [0.1, 2]},
    )
    assert list(record["inputs"]) == [first] and len(record["inputs"][first]) == 64
    code.write_text("2")
    begin_job("prune", {}, {}, [first], [str(code)])
    assert provenance(write(tmp_path / "third.parquet"))["made_from"]["code"] != record["code"]


def test_a_file_made_from_another_content_is_refused_with_both_names(tmp_path):
    first = write(tmp_path / "first.parquet", seed=1)
    begin_job("prune", {}, {}, [first], [])
    second = write(tmp_path / "second.parquet")
    check_fresh([first, second])
    making.set(None)
    write(tmp_path / "first.parquet", seed=2)
    with pytest.raises(InputError, match=r"second\.parquet: made from .*first\.parquet with SHA-256 .* delete"):
        check_fresh([second])
    (tmp_path / "first.parquet").unlink()  # an input that is gone says nothing
    check_fresh([second])


def test_files_of_other_models_are_refused_with_both_names(tmp_path):
    base = write(tmp_path / "base.parquet", var_sha256="a" * 64, vqvae_sha256="b" * 64)
    same = write(tmp_path / "same.parquet", var_sha256="a" * 64, vqvae_sha256="b" * 64)
    other = write(tmp_path / "other.parquet", var_sha256="c" * 64, vqvae_sha256="b" * 64)
    untold = write(tmp_path / "untold.parquet", vqvae_sha256="b" * 64)
    check_agree([base, same])
    check_agree([base, other], ["vqvae_sha256"])
    with pytest.raises(InputError, match=r"other\.parquet: var_sha256 is cccc.* that of .*base\.parquet is aaaa"):
        check_agree([base, same, other])
    with pytest.raises(InputError, match=r"untold\.parquet: var_sha256 is None"):
        check_agree([base, untold])
    with pytest.raises(InputError, match=r"base\.parquet: vqvae_sha256 is bbbb.* that of vae\.pth is dddd"):
        check_made_with([base], "vqvae_sha256", "d" * 64, "vae.pth")


def test_a_var_of_another_vqvae_is_refused_but_public_ones_do_not_tell():
    check_models("var.safetensors", {"vqvae_sha256": "a"}, "vqvae.safetensors", "a")
    check_models("var.pth", {}, "vae.pth", "a")
    with pytest.raises(InputError, match=r"var\.safetensors: trained on tokens of the VQ-VAE b, but vqvae\.saf"):
        check_models("var.safetensors", {"vqvae_sha256": "b"}, "vqvae.safetensors", "a")
