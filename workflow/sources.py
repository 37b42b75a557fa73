"""The data and weights that a config points to: are they there, and have they changed?"""

import functools
import hashlib
import json
import os
from pathlib import Path

DIGESTS = Path(".snakemake/varc_sha256.json")


def stamp(dataset):
    """A digest over name, size and modification time of every file below a data set's root; "" where there is none.

    A parameter of the rule that lists the images: a file that changed behind the same name makes it run again.
    """
    root = dataset.get("root")
    return stamp_below(root) if root is not None and os.path.isdir(root) else ""


@functools.cache
def stamp_below(root):
    """The digest of a folder, made once: data sets may share it."""
    hashed = hashlib.sha256()
    for parent, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(parent, name)
            stat = os.stat(path)
            hashed.update(os.fsencode(f"{os.path.relpath(path, root)}\0{stat.st_size}\0{stat.st_mtime_ns}\n"))
    return hashed.hexdigest()


def absent(datasets):
    """A message for the first data root or class list that is not there, or None."""
    for name, dataset in datasets.items():
        for key in ("root", "classes", "labels", "ids"):
            if key in dataset and not Path(dataset[key]).exists():
                return (
                    f"datasets: {name}: {key}: {dataset[key]}: no such file or folder; set {key} to where the data is"
                )
    return None


def file_sha256(path):
    """The SHA-256 of a file, None where there is none. Kept in .snakemake until the file's size or time changes."""
    if not os.path.isfile(path):
        return None
    stat = os.stat(path)
    known = json.loads(DIGESTS.read_text()) if DIGESTS.is_file() else {}
    key = f"{os.path.abspath(path)} {stat.st_size} {stat.st_mtime_ns}"
    if key not in known:
        with open(path, "rb") as file:
            known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        DIGESTS.parent.mkdir(exist_ok=True)
        write_whole(DIGESTS, json.dumps(known))
    return known[key]


def unfit_weights(models):
    """A message for the first checkpoint that is not there, or is not the one that the config names; or None."""
    for name, model in models.items():
        for part in ("vqvae", "var"):
            if part not in model:
                continue
            found, expected = file_sha256(model[part]), model.get("sha256", {}).get(part)
            if found is None and "hub" not in model:
                return f"models: {name}: {part}: {model[part]}: no such file; put the checkpoint there, or set hub"
            if found and expected and found != expected:
                return f"models: {name}: {part}: {model[part]} has SHA-256 {found}, but the config says {expected}"
    return None


def unfit_folder(folder, shards):
    """A message for a run's folder that was made with another number of shards, or cannot be written; or None.

    The number is noted in it, in shards.json.
    """
    note = Path(folder) / "shards.json"
    try:
        os.makedirs(folder, exist_ok=True)
        if not note.exists():
            write_whole(note, json.dumps({"shards": shards}))
        before = json.loads(note.read_text())["shards"]
    except (ValueError, KeyError, TypeError):
        return f'{note}: damaged; write {{"shards": ...}} into it, the number that {folder} was made with'
    except OSError as error:
        return f"{folder}: cannot be written ({error}); make room there, or allow it"
    if not os.access(folder, os.W_OK):
        return f"{folder}: cannot be written; allow it, or choose another name for run"
    if before != shards:
        return (
            f"shards is {shards}, but {folder} was made with {before}; "
            f"set shards back to {before}, or choose another name for run, or delete {folder}"
        )
    return None


def write_whole(path, text):
    """Writes a small file whole or not at all."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)
