"""What a data set has that its manifest has not, and what that means for files made from it."""

from collections.abc import Iterable
from pathlib import Path

from varc.data.found import printable
from varc.errors import InputError
from varc.storage import image_ids, read_parquet


def kept(manifest: str | Path) -> Path:
    """Where a copy of a manifest is kept, for the job that makes the next one: Snakemake takes the manifest away before
    (and an output marked `update` makes jobs of other data sets run again)."""
    return Path(manifest).with_name(f".{Path(manifest).name}")


def changes(name: str, manifest: str | Path, ids: Iterable[str]) -> str | None:
    """A line that says how the images `ids` of a data set differ from those of the manifest that was there before, and
    what is made again; None where it had the same ones, or nothing of it is kept."""
    try:
        before = set(image_ids(read_parquet(kept(manifest), ["image_id"])))
    except InputError:
        return None
    now = set(ids)
    differ = [f"{len(found)} {word}{first(found)}" for word, found in (("more", now - before), ("less", before - now))]
    if now == before:
        return None
    return (
        f"{name}: {' and '.join(differ)} than the {len(before)} images of {manifest}: shards are equal parts of the "
        f"list, so all that was made from this data set is made again; put the images back, or give the changed data "
        f"set another name, to keep it"
    )


def first(found: set[str]) -> str:
    """The first of some image_ids, in brackets."""
    return f" ({printable(min(found))}{', ...' if len(found) > 1 else ''})" if found else ""
