"""Data sets, one kind per reader, and the shifted ones that `shifts` makes."""

import functools
import math
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from varc.data.classes import class_ids, data_set_classes
from workflow.config.entry import Entry, Path, Positive, Some, Text, each_once

ShiftName = Literal[
    "gaussian_noise", "blur", "contrast", "brightness", "translation",
    "rotation", "pixelate", "occlusion", "sketch", "inverted",
]  # fmt: skip
Severity = Annotated[int, Field(ge=1, le=5)]


class Shift(Entry):
    """The images that a model sees are shifted; the same images for any seed and number of shards."""

    called = "shift"
    name: ShiftName
    """One of the ten shifts of `docs/robustness.md`."""
    severity: Severity
    """1 to 5."""


class DataSet(Entry):
    """What the data sets of all readers may have."""

    reader: str
    """See below."""
    classes: Path | None = None
    """Class list: CSV with the columns folder, class_id (the model's numbering), name; see `classes/`. Required but for
    `digits`."""
    ids: Path | None = None
    """File with the image_ids to take, one a line; default: all."""
    per_class: Positive | None = None
    """At most so many images of each label, those whose image_id has the smallest SHA-256; default: all."""
    images: Positive | None = None
    """How many images it has: another number is an error. Plans and `shards: auto` need it, where the manifest is not
    there yet. Default: told by reader `digits` or by per_class, else by the manifest."""
    size: Positive | None = None
    """Pixels per side after the centre crop; default: the images' own. Required for pictures."""
    resize: Positive | Literal["none"] | None = None
    """Pixels of the shorter side before the crop; `none` for pictures that have their pixels already:
    they are cropped alone. Default: round(1.125 size)."""
    preprocess: Literal["var", "adm", "imagenet"] | None = None
    """How pictures come to `size`. `var`: as VAR's code. `adm`: halved by boxes, then bicubic, the shorter side to
    `size` itself, as the code of ADM, DiT, SiT and RandAR; without `resize`. `imagenet`: bilinear, as torchvision's
    evaluation of ViT and ResNet; `resize` is round(size / 0.875) by default. Needs a size; default: var."""
    border: Annotated[int, Field(ge=0)] | None = None
    """Pixels cropped from each side before anything else; default: 0."""
    shift: Shift | None = None

    @model_validator(mode="after")
    def check_resize(self) -> "DataSet":
        if self.preprocess and self.size is None:
            raise ValueError(f"preprocess: {self.preprocess} needs a size; add it, or take preprocess away")
        if self.preprocess == "adm" and self.resize is not None:
            raise ValueError(
                f"resize {self.resize} does not go with preprocess: adm, which resizes to size; take it away"
            )
        if self.resize is None or (self.resize == "none" and self.size):
            return self
        if self.resize == "none" or self.resize < (self.size or math.inf):
            found = f"resize {self.resize} and size {self.size or 'absent'}"
            raise ValueError(f"{found}; resize needs a size, and must be none or at least as large")
        return self

    def params(self) -> dict[str, Any]:
        """What scripts take: all keys but `images`, which reruns nothing."""
        return {key: value for key, value in self.given().items() if key != "images"}

    @property
    def to_check(self) -> bool:
        """Whether its images are pictures that a run must be able to decode."""
        return False

    @property
    def fixed_count(self) -> float:
        """How many images the source has, as far as the config tells: infinity where only the source does."""
        return math.inf

    def count(self) -> int | None:
        """How many images the data set has, as its entry tells; None where only its manifest does."""
        if self.images is not None or self.ids is not None:
            return self.images
        each = math.inf if self.per_class is None else self.per_class * self.class_count()
        least = min(self.fixed_count, each)
        return None if least == math.inf else int(least)

    def class_count(self) -> int:
        """How many classes it has. Raises InputError for a class list that cannot be read."""
        return listed_classes(self.classes) if self.classes else len(data_set_classes(self.params()))

    def class_ids(self) -> list[int]:
        """The class_ids of its classes. Raises InputError for a class list that cannot be read."""
        return class_ids(data_set_classes(self.params()))

    def lists(self) -> list[str]:
        """The files that say which images it has, and with which labels, beside the images themselves."""
        return [file for file in (self.classes, getattr(self, "labels", None), self.ids) if file]


@functools.cache
def listed_classes(path: str) -> int:
    """How many classes a class list has, read once."""
    return len(data_set_classes({"classes": path}))


Split = Literal["train", "validation", "calibration", "test"]


class Digits(DataSet):
    called = "reader digits"
    COUNTS: ClassVar = {"train": 973, "validation": 185, "calibration": 185, "test": 454}
    reader: Literal["digits"]
    split: Split
    """`train`, `validation`, `calibration` or `test`: fixed, stratified, disjoint; with `group_column` whole groups;
    readers `digits` and `idx`, and `parquet`, where no `split` means all images; default: required."""

    @property
    def fixed_count(self) -> float:
        return self.COUNTS[self.split]


class Files(DataSet):
    """Data sets that are read from files."""

    root: Text
    """Folder of the files; all readers but `digits`."""
    classes: Path


class Idx(Files):
    called = "reader idx"
    reader: Literal["idx"]
    split: Split


class Pictures(Files):
    """Pictures of any size, which are cropped to one."""

    size: Positive
    skip_unreadable: bool | None = None
    """Leave out pictures that cannot be decoded, count them in `accuracy.csv`, and list them; else they are an error.
    All readers but `digits` and `idx`; default: false."""

    @property
    def to_check(self) -> bool:
        return not self.skip_unreadable


class Folders(Pictures):
    """Pictures of which a class list may name some alone."""

    subset: bool | None = None
    """Leave out images whose folder the class list does not name; else they are an error; default: false."""


class ImageFolder(Folders):
    called = "reader image_folder"
    reader: Literal["image_folder"]


class LabelsFile(Folders):
    called = "reader labels_file"
    reader: Literal["labels_file"]
    labels: Path
    """File with the folder of each picture; reader `labels_file`."""


class ObjectNet(Pictures):
    called = "reader objectnet"
    reader: Literal["objectnet"]


class ShardFiles(Folders):
    """Images that lie in few files, many in each."""

    files: Text | None = None
    """Pattern of the names of the files to take, as `test-*`; readers `webdataset` and `parquet`. Required where the
    names tell several splits; default: all."""


class WebDataset(ShardFiles):
    called = "reader webdataset"
    reader: Literal["webdataset"]


class Parquet(ShardFiles):
    called = "reader parquet"
    reader: Literal["parquet"]
    image_column: Text | None = None
    """Column of the images; reader `parquet`; default: image."""
    label_column: Text | None = None
    """Column of the labels; reader `parquet`; default: label."""
    group_column: Text | None = None
    """Column of the groups, text or whole numbers: images of one font, patient or video. Splits, thresholds and
    intervals then take whole groups; reader `parquet`; default: none."""
    split: Split | None = None


AnyDataSet = Annotated[
    Digits | Idx | ImageFolder | LabelsFile | ObjectNet | WebDataset | Parquet, Field(discriminator="reader")
]


class Shifts(Entry):
    """Makes the data sets `<dataset>-<shift><severity>`, evaluates the classifiers on them and on the one without a
    shift, and compares each two of them: `robustness.csv`, `robustness_paired.csv`. Beside these, only `accuracy.csv`,
    `gflops.csv` and `cost.csv` have shifted images. One entry for a data set."""

    called = "an entry of shifts"
    dataset: str
    """The data set that is shifted."""
    classifiers: Some[str]
    """Those that are evaluated."""
    names: Annotated[Some[ShiftName], AfterValidator(each_once)]
    """The shifts."""
    severities: Annotated[Some[Severity], AfterValidator(each_once)]
    """1 to 5."""

    def shifted(self) -> dict[str, tuple[str, int]]:
        """The data sets that it makes: name -> shift and severity, in order."""
        return {f"{self.dataset}-{name}{s}": (name, s) for name in self.names for s in self.severities}


class ShiftRun(NamedTuple):
    """A classifier on a data set under a shift ("clean" at severity 0), and the name of the data set that it scores."""

    dataset: str
    shift: str
    severity: int
    classifier: str
    evaluated: str


def shift_runs(entries: list[Shifts]) -> list[ShiftRun]:
    """What tables/robustness.csv compares, per entry, clean images first."""
    return [
        ShiftRun(entry.dataset, shift, severity, classifier, evaluated)
        for entry in entries
        for evaluated, (shift, severity) in [(entry.dataset, ("clean", 0)), *entry.shifted().items()]
        for classifier in entry.classifiers
    ]
