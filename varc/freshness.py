"""Refuses files that do not belong together: each message names both, what was found, and what to do."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from varc.errors import InputError
from varc.files import file_sha256
from varc.origin import place
from varc.seal import read_sealed
from varc.storage import provenance

MODEL_KEYS = ("vqvae_sha256", "var_sha256", "weights_sha256")


def check_made_with(paths: Iterable[str | Path], key: str, expected: Any, other: str | Path) -> None:
    """Raises InputError for a file whose provenance has another `key` than `other`, the file that has the expected."""
    for path in paths:
        check_value(path, key, provenance(path), expected, other)


def check_value(path: str | Path, key: str, record: dict[str, Any], expected: Any, other: str | Path) -> None:
    """Raises InputError where the record of the file `path` has another `key` than `other`; see check_made_with."""
    found = record.get(key)
    if found != expected:
        raise InputError(
            f"{path}: {key} is {short(found)}, but that of {other} is {short(expected)}; delete {path} and run the "
            f"same command again"
        )


def check_expected(paths: Iterable[str | Path], expected: dict[str, str | None]) -> None:
    """Raises InputError where files say another SHA-256 of weights than the config's (key -> SHA-256)."""
    for key, sha256 in expected.items():
        check_made_with(paths, key, sha256, "the config's weights")


def check_agree(paths: Sequence[str | Path], keys: Sequence[str] = MODEL_KEYS) -> None:
    """Raises InputError where files that must be of the same models are not."""
    for key in keys:
        check_made_with(paths[1:], key, provenance(paths[0]).get(key), paths[0])


def sources(path: str | Path) -> dict[str, str]:
    """The files that a file of a run is made from, with their SHA-256. Raises InputError for a damaged one, or one of
    another place; for files that say nothing of themselves, as weights and tables, there are none."""
    if Path(path).suffix == ".parquet":
        found = provenance(path)
    else:
        found = read_sealed(path) if Path(path).suffix == ".json" and place(path) else {}
    return found.get("made_from", {}).get("inputs", {})


def changed_sources(path: str | Path, digests: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Each file that a file was made from another content of than the one there now: its path, its SHA-256 then and
    now. digests: of files, each made once. Raises InputError as `sources` does."""
    for source, then in sources(path).items():
        if Path(source).is_file() and (now := digest(source, digests)) != then:
            yield source, then, now


def digest(path: str, digests: dict[str, str]) -> str:
    """The SHA-256 of a file, made once."""
    if path not in digests:
        digests[path] = file_sha256(path)
    return digests[path]


def check_fresh(paths: Iterable[str | Path]) -> None:
    """Raises InputError for a file that was made from another content of a file than the one there now."""
    digests: dict[str, str] = {}
    for path in paths:
        for source, then, now in changed_sources(path, digests):
            raise InputError(
                f"{path}: made from {source} with SHA-256 {short(then)}, which is {short(now)} now; delete {path} and "
                f"run the same command again"
            )


def check_models(var_path: str | Path, var_card: dict[str, Any], vqvae_path: str | Path, vqvae_sha256: str) -> None:
    """Raises InputError for a VAR that was trained on the tokens of another VQ-VAE. Public weights do not tell."""
    trained_on = var_card.get("vqvae_sha256", vqvae_sha256)
    if trained_on != vqvae_sha256:
        raise InputError(
            f"{var_path}: trained on tokens of the VQ-VAE {short(trained_on)}, but {vqvae_path} is "
            f"{short(vqvae_sha256)}; delete {var_path} and run the same command again"
        )


def models_of(path: str | Path) -> dict[str, str]:
    """The SHA-256 of each model that a file was made with, as its provenance has them."""
    record = provenance(path)
    return {key: record[key] for key in MODEL_KEYS if key in record}


def short(value: Any) -> str:
    """The first 12 digits of a SHA-256; other values as they are."""
    return value[:12] if isinstance(value, str) else str(value)
