"""Whether a run's files still are what they say they are, and are made from what lies there now: all is read again."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from varc.data.manifest import image_batches, rows
from varc.data.preprocess import pixels_sha256
from varc.errors import InputError
from varc.files import file_sha256
from varc.freshness import changed_sources, digest
from varc.models.weights import card_path, read_card
from varc.storage import image_ids, provenance, read_parquet

AT_ONCE = 64  # images that are loaded together


def verify(folder: str | Path, began: Mapping[str, str | None], stamps: Mapping[str, str]) -> Iterator[str]:
    """A line for whatever of a run no longer fits. folder: of the run. began: what it last began with, file or data
    root -> digest; stamps: those of data roots now.

    Files are read and digested again, all pictures decoded and compared by their pixels with those that were encoded.
    """
    yield from unfit_sources(began, stamps)
    digests: dict[str, str] = {}
    for path in files_of(folder):
        try:
            yield from unfit(path, digests)
        except InputError as error:
            yield str(error)


def files_of(folder: str | Path) -> list[Path]:
    """The files of a run but for what jobs that have not ended keep, which have hidden names."""
    found = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def unfit_sources(began: Mapping[str, str | None], stamps: Mapping[str, str]) -> Iterator[str]:
    """A line for each source that is not what it was; see verify."""
    for source, expected in began.items():
        now = stamps.get(source) or (file_sha256(source) if Path(source).is_file() else None)
        if now != expected:
            yield f"{source}: {'is not what it was' if now else 'is gone'} since the run began"


def unfit(path: Path, digests: dict[str, str]) -> Iterator[str]:
    """What is wrong with a file. digests: of files that were read before. Raises InputError for a damaged one."""
    for source, _, _ in changed_sources(path, digests):
        yield f"{path}: made from another content of {source} than is there now"
    if path.suffix == ".safetensors":
        if digest(str(path), digests) != read_card(path).get("sha256"):
            yield f"{path}: its SHA-256 is not the one in {card_path(path).name}"
    elif path.suffix == ".parquet":
        read_parquet(path)
        record = provenance(path)
        origin = record.get("made_from", {})
        if origin.get("rule") == "encode":
            yield from unfit_images(path, origin, record["size"])


def unfit_images(path: Path, origin: dict[str, Any], side: int) -> Iterator[str]:
    """A line for each image whose pixels are not those that a file of features was encoded from. origin: what that is
    made from; side: pixels per side."""
    table = read_parquet(path, ["image_id", "pixels_sha256"])
    known = dict(zip(image_ids(table), table["pixels_sha256"].to_pylist(), strict=True))
    manifest = next(source for source in origin["inputs"] if Path(source).parent.name == "datasets")
    listed = [row for row in rows(read_parquet(manifest)) if row.image_id in known]
    batches = image_batches(origin["params"]["dataset"], listed, side, AT_ONCE)
    found = (sha256.tobytes().hex() for batch in batches for sha256 in pixels_sha256(batch))
    for row, sha256 in zip(listed, found, strict=True):
        if sha256 != known[row.image_id]:
            yield f"{row.image_id}: its pixels are not those that {path} was made from"
