"""A run's folder as users of its classifiers read it."""

import os
from pathlib import Path
from typing import Any

import yaml

from varc.classify.pictures import Images
from varc.data.preprocess import PREPARED
from varc.errors import InputError
from varc.files import file_sha256
from varc.seal import read_json
from varc.yaml_bounds import read_bounded

RECORD = "config.yaml"  # the config that made a run
CLASSIFIERS = "classifiers.json"  # its classifiers, as workflow/classifiers.py tells them
PATHS = ("root", "classes", "labels", "ids")  # keys of a data set that name files
DECISIVE = ("classes", *PREPARED, "shift")  # those that scores depend on


class RunFolder:
    """A run's folder, wherever it lies: its files are found in it, all others from two folders above, where its config
    was read. Raises InputError where it is none."""

    def __init__(self, folder: str | Path):
        given = Path(folder)
        self.folder = Path(os.path.abspath(given))  # which holds when the working folder changes
        self.project = self.folder.parent.parent
        if not given.is_dir():
            raise InputError(f"{given}: no such folder; give that of a run, results/<run>{self.beside()}")
        if not (given / CLASSIFIERS).is_file():
            if (given / RECORD).is_file():
                raise InputError(
                    f"{given / CLASSIFIERS}: no such file, since an earlier version made the run; run its config again"
                )
            raise InputError(f"{given}: is no folder of a run; give one, results/<run>{self.beside()}")
        self.told = read_json(given / CLASSIFIERS)

    def beside(self) -> str:
        """The runs that lie beside it, as the end of a message."""
        runs = sorted(path.parent.name for path in self.folder.parent.glob(f"*/{CLASSIFIERS}"))
        return f"; there are {', '.join(runs)}" if runs else ""

    def path(self, file: str) -> str:
        """A file that the run names, as it can be opened from here."""
        own = f"results/{self.told['run']}/"
        if file.startswith(own):
            return str(self.folder / file.removeprefix(own))
        return os.path.normpath(self.project / file)

    def paths(self, files: Any) -> Any:
        """The same of a file, or of several; of none, None."""
        if isinstance(files, str):
            return self.path(files)
        return [self.path(file) for file in files] if files else None

    def classifier(self, name: str | None) -> tuple[str, dict[str, Any]]:
        """A classifier of the run, by its name; None: the only one. Raises InputError, with the names that there
        are."""
        known = self.told["classifiers"]
        names = ", ".join(known)
        if name is None:
            if len(known) > 1:
                raise InputError(f"{self.folder}: has the classifiers {names}; say which one")
            name = next(iter(known))
        if name not in known:
            raise InputError(f"{self.folder}: has no classifier {name!r}; it has {names}")
        return name, known[name]

    def images(self, dataset: str) -> Images:
        """One of its data sets."""
        entry = self.told["datasets"][dataset]
        spec = {key: self.path(value) if key in PATHS else value for key, value in entry.items()}
        return Images(spec, self.folder / "datasets" / f"{dataset}.parquet", self.project)

    def data_sets(self, names: list[str], dataset: str | None) -> list[Images]:
        """The data sets of a classifier, as pictures are to be prepared: the one given, else all without a shift.

        Raises InputError for one that the classifier is not evaluated on, for several that differ in what scores depend
        on, and for a class list that is not what it was.
        """
        if dataset is not None and dataset not in names:
            raise InputError(f"{self.folder}: the classifier has no data set {dataset!r}; it has {', '.join(names)}")
        plain = [name for name in names if "shift" not in self.told["datasets"][name]] or names[:1]
        chosen = plain if dataset is None else [dataset]
        first = self.told["datasets"][chosen[0]]
        for other in chosen[1:]:
            entry = self.told["datasets"][other]
            if wrong := [key for key in DECISIVE if entry.get(key) != first.get(key)]:
                found = f"data sets {chosen[0]} and {other} differ in {', '.join(wrong)}"
                raise InputError(f"{self.folder}: {found}; say by dataset which one the pictures are like")
        if "classes" in first:
            self.check_source(first["classes"])
        return [self.images(name) for name in chosen]

    def check_source(self, file: str) -> None:
        """Raises InputError where a file is not the one that the run began with."""
        expected = read_record(self.folder).get("made_with", {}).get("sources", {}).get(file)
        path = self.path(file)
        if not os.path.isfile(path):
            raise InputError(f"{path}: no such file, which {self.folder} was made with; put it back")
        if expected is not None and file_sha256(path) != expected:
            raise InputError(f"{path}: is not what it was since {self.folder} began; put that file back, or run again")


def read_record(folder: str | Path) -> dict[str, Any]:
    """The config that made a run, from its folder. Raises InputError where it is absent or damaged."""
    path = Path(folder) / RECORD
    try:
        found = yaml.safe_load(read_bounded(path))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason}); give the folder of a run") from None
    if not isinstance(found, dict) or not {"datasets", "evaluate"} <= found.keys():
        raise InputError(f"{path}: is no config of a run; give the folder of a run")
    return found
