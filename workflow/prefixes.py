"""Which file a stage reads scores of all classes from: those at more scales hold those at fewer (`per_scale`), so that
no image is scored twice. Decided here alone; only for scores in float32, without guidance.

Of the files that lie there, and are made as the config says, a stage reads the one with the fewest scales that has its
own; where there is none, the one with the most scales that the config needs, which will be made. So a file that lies
there is never made again for a classifier that comes or goes, and what reads it stays as it was: a file with fewer
scales than one that lies there is not made.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import NamedTuple

from varc.seal import read_footer
from workflow.stages import ScaleStage, Stage


class Sample(NamedTuple):
    """One sample of a data set's images, whose scores of all classes a model makes."""

    scorer: str
    dataset: str
    noise: str

    def folder(self, scales: int) -> str:
        return f"{ScaleStage(self.scorer, (), 1, scales).folder(self.dataset)}/{self.noise}"


class Prefixes:
    """needed: data sets and stages of all files that the config will have made. most: of a model, how many scales it
    has. path: of a folder of the run. recipe: of a model and a data set, what `score` notes in its files.

    known: file -> scales, where that is not what the config alone says; None: the files that lie there tell.
    """

    def __init__(
        self,
        needed: Iterable[tuple[str, Stage]],
        most: Callable[[str], int],
        path: Callable[[str], str],
        recipe: Callable[[str, str], str],
        known: Mapping[str, int] | None = None,
    ):
        self.most, self.path, self.recipe, self.known = most, path, recipe, known
        self.longest: dict[Sample, int] = {}
        self.shorter: dict[str, tuple[Sample, int]] = {}  # folder of scores at fewer scales than the model has
        for dataset, stage in needed:
            for noise in stage.noises if isinstance(stage, ScaleStage) and stage.full else ():
                assert isinstance(stage, ScaleStage)
                sample = Sample(stage.scorer, dataset, noise)
                self.longest[sample] = max(stage.scales, self.longest.get(sample, 0))
                if stage.scales < most(stage.scorer):
                    self.shorter[sample.folder(stage.scales)] = sample, stage.scales
        self.files = cache(files_in)
        self.fresh = cache(lambda file, made: recipe_of(file) == made)

    def holder(self, folder: str, shard: int) -> str:
        """The folder whose file of a shard has the scores of `folder`: itself, or one of more scales."""
        if folder not in self.shorter:
            return folder
        sample, scales = self.shorter[folder]
        return sample.folder(self.scales(sample, scales, shard))

    def scales(self, sample: Sample, scales: int, shard: int) -> int:
        """How many scales the file of a shard has from which scores at `scales` are read."""
        longest = self.longest[sample]
        if self.known is not None:
            return self.known.get(f"{sample.folder(scales)}/{shard}", longest)
        counts = range(scales, self.most(sample.scorer) + 1)
        there = [k for k in counts if shard in self.files(self.path(sample.folder(k)))]
        if set(there) <= {longest}:
            return longest
        made = self.recipe(sample.scorer, sample.dataset)
        files = ((k, self.path(f"{sample.folder(k)}/{shard}.parquet")) for k in there)
        return next((k for k, file in files if self.fresh(file, made)), longest)

    def exceptions(self, shards: int) -> dict[str, int]:
        """What `known` is of a run that begins with the files that lie there."""
        found = {
            f"{folder}/{shard}": self.scales(sample, scales, shard)
            for folder, (sample, scales) in self.shorter.items()
            for shard in range(shards)
        }
        longest = {folder: self.longest[sample] for folder, (sample, _) in self.shorter.items()}
        return {file: scales for file, scales in found.items() if scales != longest[os.path.dirname(file)]}


def files_in(folder: str) -> set[int]:
    """The shards of a folder of scores whose files are there."""
    try:
        names = os.listdir(folder)
    except OSError:
        return set()
    return {int(found[1]) for name in names if (found := re.fullmatch(r"(\d+)\.parquet", name))}


def recipe_of(file: str) -> str | None:
    """The recipe that `score` has noted in a file of scores, read without Parquet's library, which takes long to
    import; None where it says none, or is damaged."""
    try:
        with open(file, "rb") as opened:
            found = re.search(rb'"recipe": "([0-9a-f]{64})"', read_footer(opened))
    except (OSError, ValueError):
        return None
    return found[1].decode() if found else None
