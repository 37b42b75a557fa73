"""The data that a config points to: is it there, and has it changed?"""

import hashlib
import os
from pathlib import Path


def stamp(dataset):
    """A digest over name, size and modification time of every file below a data set's root; "" where there is none.

    A parameter of the rule that lists the images: a file that changed behind the same name makes it run again.
    """
    root = dataset.get("root")
    if root is None or not os.path.isdir(root):
        return ""
    hashed = hashlib.sha256()
    for parent, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(parent, name)
            stat = os.stat(path)
            hashed.update(f"{os.path.relpath(path, root)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return hashed.hexdigest()


def absent(datasets):
    """A message for the first data root or class list that is not there, or None."""
    for name, dataset in datasets.items():
        for key in ("root", "classes"):
            if key in dataset and not Path(dataset[key]).exists():
                return (
                    f"datasets: {name}: {key}: {dataset[key]}: no such file or folder; set {key} to where the data is"
                )
    return None
