"""The data and weights that a config points to: are they there, and have they changed?"""

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import varc.files
from varc.bounded import special
from varc.data.tree import files_read
from varc.errors import InputError
from varc.files import identity
from varc.seal import read_json, write_json
from workflow.config.entry import ConfigError
from workflow.imports import reads_images

DIGESTS = Path(".snakemake/varc_sha256.json")
Params = Mapping[str, Any]


def stamp(dataset: Params) -> str:
    """A digest over name, size and modification time of every file that a data set is read from; "" without a root.

    A parameter of the rule that lists the images: a file that changed behind the same name makes it run again. What
    the reader passes over is not in it.
    """
    root = dataset.get("root")
    return stamp_below(dataset["reader"], root, dataset.get("files")) if root and os.path.isdir(root) else ""


@functools.cache
def stamp_below(reader: str, root: str, files: str | None) -> str:
    """The digest of what a reader reads of a folder, made once: data sets may share it."""
    hashed = hashlib.sha256()
    try:
        for name in files_read({"reader": reader, "root": root, "files": files}):
            hashed.update(os.fsencode(f"{name}\0{size_and_time(os.path.join(root, name))}\n"))
    except OSError as error:  # the reader says it better
        hashed.update(str(error).encode())
    return hashed.hexdigest()


def size_and_time(path: str) -> str:
    """Size and modification time of a file; what is wrong where it cannot be looked at, as with a dangling link."""
    try:
        stat = os.stat(path)
    except OSError as error:
        return str(error.strerror)
    return f"{stat.st_size}\0{stat.st_mtime_ns}"


def unfit(run: Any, shards_known: bool, jobs: Collection[tuple[str, Params]], code: str) -> str | None:
    """A message where jobs cannot run: what they read is absent, or the number of shards has changed; or None.

    jobs: rule and parameters of each. code: the folder of the code.
    """
    names = {name for name, _ in jobs}
    scripts = {name for name in names if reads_images(f"scripts/{name}.py", code)}
    reading = [params for name, params in jobs if name in scripts and not has_tokens_alone(name, params)]
    found = unfit_sources(run, reading, [params for _, params in jobs])
    if not found and names - {"manifest", "measure_rates", "plan"}:  # what depends on shards
        found = unfit_folder(run.folder, run.shards, shards_known)
    return found


def has_tokens_alone(rule: str, params: Params) -> bool:
    """Whether a job reads no images, though its script can: a VAR's training where it does not augment them."""
    return rule == "train_var" and "augment" not in params["train"]


def unfit_sources(run: Any, reading: Iterable[Params], jobs: Iterable[Params]) -> str | None:
    """A message for the first source of a run's jobs that is not there, or is another than the config names; or None.

    reading: the parameters of the jobs that read images; jobs: those of all jobs.
    """
    specs = [value for params in reading for value in params.values()]
    known = [value for params in jobs for value in params.values() if isinstance(value, dict)]
    for name in run.config.datasets:
        if run.dataset(name) in specs and (message := absent(name, run.dataset(name))):
            return message
    for name, entry in run.config.models.items():
        for part in getattr(entry, "files", ()):
            if run.checkpoints.checkpoint(name, part) in known and (message := unfit_weights(name, entry, part)):
                return message
    baselines = [value.get("baseline", value) for value in known]
    for name, entry in run.config.baselines.items():
        if run.checkpoints.baseline(name) in baselines and (message := unfit_baseline(name, entry, run.checkpoints)):
            return message
    return None


def unfit_baseline(name: str, entry: Any, checkpoints: Any) -> str | None:
    """A message for public weights of a rival that are not there, or are not those that the config names; or None."""
    for part, file in entry.files.items():
        found, expected = file_sha256(file), entry.digest(part)
        if found is None:
            return f"baselines: {name}: checkpoint: {part}: {file}: no such file; put the public weights there"
        if expected and found != expected:
            return f"baselines: {name}: sha256: {part}: {file} has SHA-256 {found}, but the config says {expected}"
    weights = any(file.endswith(".safetensors") for file in checkpoints.public_files(name))
    if entry.checkpoint and not entry.files and not weights:
        return f"baselines: {name}: checkpoint: {entry.checkpoint}: no safetensors there; put the public folder there"
    return None


def absent(name: str, dataset: Params) -> str | None:
    """A message for a data root or list that is not there, or None."""
    for key in ("root", "classes", "labels", "ids"):
        if key in dataset and not os.path.exists(dataset[key]):
            return f"datasets: {name}: {key}: {dataset[key]}: no such file or folder; set {key} to where the data is"
    return None


def check_kinds(config: Any, public_files: Callable[[str], Iterable[str]]) -> None:
    """Raises ConfigError for the first path of a config that leads to a pipe, a socket or a device, which would be
    waited for. public_files: those of a baseline."""
    paths = [("published", config.published)]
    for name, entry in config.datasets.items():
        keys = ("root", "classes", "labels", "ids")
        paths += [(f"datasets: {name}: {key}", getattr(entry, key, None)) for key in keys]
    for name, entry in config.models.items():
        paths += [(f"models: {name}: {part}", getattr(entry, part, None)) for part in ("vqvae", "var")]
    for name in config.baselines:
        paths += [(f"baselines: {name}: checkpoint", file) for file in public_files(name)]
    for key, path in paths:
        if path is not None and (found := special(path)):
            raise ConfigError(f"{key}: {path}: is {found}, no file; name the file itself")


def file_sha256(path: str) -> str | None:
    """The SHA-256 of a file, None where there is none. Kept in .snakemake until the file is touched."""
    if not os.path.isfile(path):
        return None
    known = known_digests()
    key = f"{os.path.abspath(path)} {' '.join(map(str, identity(path) or ()))}"
    if key not in known:
        known[key] = varc.files.file_sha256(path)
        write_json(DIGESTS, known)
    return known[key]


def begun(run: str) -> Path:
    """Where the digests are that a run began with: what its jobs expect of weights, whatever lies there meanwhile."""
    return Path(f".snakemake/varc_begun/{run}.json")


def digest_as_begun(run: str, path: str) -> str | None:
    """file_sha256, in a job: as it was when the run began, where the file was there. Raises InputError where what the
    run began with cannot be read."""
    return digests_as_begun(run).get(path) or file_sha256(path)


def begun_with_scores(run: str) -> Path:
    """Where it stands which scores a run reads from files that were there when it began: see workflow.prefixes."""
    return Path(f".snakemake/varc_begun/{run}.scores.json")


def read_as_begun(run: str) -> dict[str, int] | None:
    """What begun_with_scores says, in a job; None where it was not written. Raises InputError where it cannot be
    read."""
    return read_json(begun_with_scores(run)) if begun_with_scores(run).is_file() else None


@functools.cache
def digests_as_begun(run: str) -> dict[str, Any]:
    return read_json(begun(run)) if begun(run).is_file() else {}


def known_digests() -> dict[str, str]:
    """The digests that were made before; none where they are damaged, since they can be made again."""
    with contextlib.suppress(InputError):
        return read_json(DIGESTS)
    return {}


def unfit_weights(name: str, model: Any, part: str) -> str | None:
    """A message for a file of a model that is not there, or is not the one that the config names; or None."""
    file, expected = model.files[part], model.digest(part)
    found = file_sha256(file)
    if found is None and not model.hub:
        return f"models: {name}: {part}: {file}: no such file; put the checkpoint there, or set hub"
    if found and expected and found != expected:
        return f"models: {name}: {part}: {file} has SHA-256 {found}, but the config says {expected}"
    return None


def unfit_folder(folder: str, shards: int, known: bool) -> str | None:
    """A message for a run's folder that was made with another number of shards, or cannot be written; or None.

    The number is noted in it, in shards.json. known: whether the config, or a rate, tells the number.
    """
    if not known:
        return (
            "shards: auto needs a rate; run `snakemake plan` with this config on the device that will compute, or set "
            "gflops_per_second"
        )
    note = Path(folder) / "shards.json"
    try:
        os.makedirs(folder, exist_ok=True)
        if not note.exists():
            write_json(note, {"shards": shards})
        before = read_json(note)["shards"]
    except (InputError, KeyError):
        return f"{note}: damaged; delete it, and set shards to the number that {folder} was made with"
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
