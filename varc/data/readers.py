"""Readers: where the images of a data set come from.

A reader is two functions of the data set's config entry: one lists the images with the folder (or what stands for
it) that tells their class, and what it passes over; the other returns a function that opens one of them. A new source
needs one entry in READERS. Labels are not their business: see varc/data/manifest.py.
"""

import threading
from collections.abc import Callable, Iterator

from varc.data.decode import decoded
from varc.data.folders import list_image_folder, list_labels_file, list_objectnet, open_pictures
from varc.data.found import Found, OpenImage, PassOver, Reader, Spec, forget, naming
from varc.data.hub import list_parquet, open_parquet
from varc.data.idx import list_digits, list_idx, open_digits, open_idx
from varc.data.tars import list_webdataset, open_webdataset

__all__ = ["READERS", "Found", "decoded", "describe", "list_images", "open_images", "open_in_threads"]

READERS = {
    "digits": Reader(list_digits, open_digits),
    "idx": Reader(list_idx, open_idx),
    "image_folder": Reader(list_image_folder, open_pictures),
    "labels_file": Reader(list_labels_file, open_pictures),
    "objectnet": Reader(list_objectnet, open_pictures),
    "webdataset": Reader(list_webdataset, open_webdataset),
    "parquet": Reader(list_parquet, open_parquet),
}


def list_images(spec: Spec, pass_over: PassOver = forget) -> Iterator[Found]:
    """All images of a data set's source; pass_over is told what else it has, and why that is no image.

    Raises InputError where that cannot be told.
    """
    with naming(describe(spec), "cannot be listed", "mend that, or set root to the data", b""):
        yield from READERS[spec["reader"]].list_images(spec, pass_over)


def open_images(spec: Spec) -> OpenImage:
    """What opens an image of a data set, for one thread. Raises InputError for a source that cannot be opened."""
    with naming(describe(spec), "cannot be opened", "mend that, or set root to the data", b""):
        return READERS[spec["reader"]].open_images(spec)


def open_in_threads(spec: Spec) -> Callable[[], OpenImage]:
    """What gives each thread that asks its own of open_images, the same each time: an open tar or Parquet file has one
    position."""
    own, lock = threading.local(), threading.Lock()

    def of_this_thread() -> OpenImage:
        if not hasattr(own, "open_image"):
            with lock:  # readers import libraries here
                own.open_image = open_images(spec)
        return own.open_image

    return of_this_thread


def describe(spec: Spec) -> str:
    """The data set in words for a message: its reader, root and split."""
    return ", ".join(f"{key} {spec[key]}" for key in ("reader", "root", "split") if key in spec)
