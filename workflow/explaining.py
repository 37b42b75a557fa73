"""The files of `explain`: token scores, maps, curves, galleries. Methods take wildcards by their names, or a Map."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from varc.explain.pairs import has_counterparts, read_pairs
from workflow.config.entry import ConfigError
from workflow.config.tables import BUDGETED, MASKED_METHODS, Explanation, Faithfulness, tells_by_scores
from workflow.run import Inputs, Run
from workflow.stages import spell_noises, spell_precision, spell_sigma


class Map(NamedTuple):
    """What maps explain, by the wildcards of their files; method: with samples and sigma where TMI is averaged."""

    dataset: str
    model: str
    method: str
    target: str
    against: str

    @property
    def below(self) -> str:
        return f"{self.model}/{self.dataset}/{self.method}/{self.target}-vs-{self.against}"


class Contrast(NamedTuple):
    """Maps whose truth is known, by the wildcards of their files; pairs: the name of the file of pairs."""

    dataset: str
    model: str
    pairs: str


class Explaining:
    """Raises ConfigError where two entries would make the same maps, and where two files of pairs have one name."""

    def __init__(self, run: Run):
        self.run, self.config, self.checkpoints = run, run.config, run.checkpoints
        self.maps: dict[Map, tuple[str, Explanation]] = {}  # what makes each: its method, and the entry
        for i, entry in enumerate(self.config.explain):
            for key, method in maps_of(entry):
                if key in self.maps:
                    there = f"{method} of {key.model} on {key.dataset}, {key.target} against {key.against}"
                    raise ConfigError(f"explain: {i}: {there}, is there already; take it out of one entry")
                self.maps[key] = method, entry
        self.pairs: dict[str, str] = {}  # files of pairs, by what paths call them
        for i, entry in enumerate(self.config.explain):
            if entry.pairs and (known := self.pairs.setdefault(entry.pairs_name, entry.pairs)) != entry.pairs:
                found = f"{entry.pairs}: an entry before has {known}, and paths would call both {entry.pairs_name}"
                raise ConfigError(f"explain: {i}: pairs: {found}; rename one")

    def map_files(self, key: Map) -> list[str]:
        return self.run.shards_in(f"maps/{key.below}")

    def curve_files(self, key: Map, judge: str) -> list[str]:
        return self.run.shards_in(f"curves/{key.below}/{judge}")

    def targets(self) -> list[str]:
        """All files of maps, and the tables, plots and pictures of them."""
        entries = [entry for entry in self.config.explain if entry.gallery and not entry.pairs]
        pictures = {f"gallery/{m}/{d}.png" for entry in entries for m in entry.models for d in entry.datasets}
        pictures |= {f"gallery/{c.model}/{c.dataset}/{method}-{c.pairs}.png" for c, method in self.contrast_galleries()}
        tables = ["tables/explanation.csv", "tables/explanation.svg"] if self.rows() else []
        tables += ["tables/contrast.csv", "tables/contrast.svg"] if self.contrasts() else []
        files = [file for key in self.maps for file in self.map_files(key)]
        return files + [self.run.path(name) for name in [*tables, *sorted(pictures)]]

    def spelled(self, methods: Collection[str]) -> list[str]:
        """Some methods as paths spell those of maps."""
        return [key.method for key, (method, _) in self.maps.items() if method in methods]

    # one file of maps

    def method(self, key: Map) -> str:
        return self.maps[key][0]

    def entry(self, key: Map) -> Explanation:
        return self.maps[key][1]

    def class_scores(self, dataset: str, model: str, shard: str, roles: Iterable[str]) -> str | list[str]:
        """The shard's clean scores of all classes, where they tell which classes the roles stand for; else nothing."""
        if not any(map(tells_by_scores, roles)):
            return []
        return self.run.path(f"{self.run.full_stage(model).folders(dataset)[0]}/{shard}.parquet")

    def score_tokens_inputs(self, dataset: str, model: str, role: str, noise: str, shard: str) -> Inputs:
        """Tokens of one sample and the model; labels, and the scores that tell the role's class."""
        return {
            "manifest": self.run.manifest(dataset),
            "tokens": self.run.path(f"{self.run.tokens_folder(model, dataset, noise)}/{shard}.parquet"),
            "scores": self.class_scores(dataset, model, shard, [role]),
            "pairs": self.paired(dataset, pairs_of(role)),
            **self.checkpoints.both(model),
        }

    def entries_of(self, dataset: str, model: str) -> list[Explanation]:
        return [entry for entry in self.config.explain if dataset in entry.datasets and model in entry.models]

    def scored_images(self, dataset: str, model: str, role: str) -> int | None:
        """How many images have their tokens scored: the most that an entry, of the same pairs, asks for; None: all."""
        entries = self.entries_of(dataset, model)
        counts = [entry.images for entry in entries if entry.pairs_name == pairs_of(role)]
        return None if None in counts else max(count for count in counts if count is not None)

    def explain_inputs(self, key: Map, shard: str) -> Inputs:
        """log p of the tokens under both classes, one file per sample, and what was computed before them."""
        name, entry = self.maps[key]
        noises = spell_noises(spell_sigma(entry.sigma), entry.samples)
        made = ("-randomised" if name.endswith("_randomised") else "") + spell_precision(entry.precision)
        folders = [f"token_scores/{key.model}/{key.dataset}/{role}{made}" for role in entry.roles]
        target, against = ([self.run.path(f"{f}/{noise}/{shard}.parquet") for noise in noises] for f in folders)
        return {
            "target": target,
            "against": against,
            "manifest": self.run.manifest(key.dataset),
            "pairs": self.paired(key.dataset, entry.pairs_name),
            "features": self.run.features(key.model, key.dataset, shard),
            "tokens": self.run.tokens(key.model, key.dataset, noises, shard),
            "checkpoints": self.checkpoints.shape_files([key.model]),
        }

    def pixel_inputs(self, key: Map, shard: str) -> Inputs:
        """What tells which images, and which of their classes, a map that is made from pixels explains."""
        return {
            "manifest": self.run.manifest(key.dataset),
            "pairs": self.paired(key.dataset, self.entry(key).pairs_name),
            "scores": self.class_scores(key.dataset, key.model, shard, self.entry(key).roles),
            "checkpoints": self.checkpoints.shape_files([key.model]),
        }

    # pairs, and the maps whose truth they tell

    def paired(self, dataset: str, pairs: str) -> str | list[str]:
        """The pairs of a data set's images, checked; nothing where the classes are not told by pairs."""
        return self.run.path(f"pairs/{pairs}/{dataset}.parquet") if pairs else []

    def pairs_inputs(self, dataset: str, pairs: str) -> Inputs:
        shapes = self.checkpoints.shape_files([self.paired_model(dataset, pairs)])
        found = {"manifest": self.run.manifest(dataset), "classes": self.run.class_list(dataset)}
        return {**found, "pairs": self.pairs[pairs], "checkpoints": shapes}

    def paired_model(self, dataset: str, pairs: str) -> str:
        """A model that explains pairs, whose images have the size of its own."""
        entries = (e for e in self.config.explain if e.pairs_name == pairs and dataset in e.datasets)
        return next(model for entry in entries for model in entry.models)

    def contrasts(self) -> list[Contrast]:
        """What tables/contrast.csv has: all maps whose pairs have counterparts."""
        known = {name for name, file in self.pairs.items() if has_counterparts(read_pairs(file))}
        found = (Contrast(key.dataset, key.model, entry.pairs_name) for key, (_, entry) in self.maps.items())
        return list(dict.fromkeys(contrast for contrast in found if contrast.pairs in known))

    def contrast_maps(self, key: Contrast) -> list[Map]:
        """The maps whose truth is the same."""
        own = (map_ for map_, (_, entry) in self.maps.items() if entry.pairs_name == key.pairs)
        return [map_ for map_ in own if (map_.dataset, map_.model) == (key.dataset, key.model)]

    def contrast_methods(self, key: Contrast) -> list[str]:
        """Their methods, as in paths."""
        return [map_.method for map_ in self.contrast_maps(key)]

    def localise_inputs(self, key: Contrast) -> Inputs:
        """Pictures, pairs, and the maps of each method."""
        maps = {f"maps{i}": self.map_files(map_) for i, map_ in enumerate(self.contrast_maps(key))}
        return {**self.contrast_inputs(key), **maps}

    def contrast_inputs(self, key: Contrast) -> Inputs:
        """Pictures and pairs."""
        shapes = self.checkpoints.shape_files([key.model])
        found = {"manifest": self.run.manifest(key.dataset), "pairs": self.paired(key.dataset, key.pairs)}
        return {**found, "checkpoints": shapes}

    def localised(self) -> list[str]:
        """How well the maps of each contrast find their truth."""
        return [self.run.path(f"contrast/{key.model}/{key.dataset}/{key.pairs}.parquet") for key in self.contrasts()]

    def contrast_galleries(self) -> dict[tuple[Contrast, str], int]:
        """What is shown: contrast and method, as in paths -> how many images with the best and with the worst maps."""
        entries = [entry for entry in self.config.explain if entry.gallery and entry.pairs]
        return {
            (Contrast(dataset, model, entry.pairs_name), spell_method(entry, entry.methods[0])): entry.gallery or 0
            for entry in entries
            for dataset in entry.datasets
            for model in entry.models
        }

    def contrast_gallery_inputs(self, key: Contrast, method: str) -> Inputs:
        """Pictures, pairs, the maps of the method, and how well they find their truth."""
        maps = next(map_ for map_ in self.contrast_maps(key) if map_.method == method)
        located = self.run.path(f"contrast/{key.model}/{key.dataset}/{key.pairs}.parquet")
        known = {"located": located, "classes": self.run.class_list(key.dataset)}
        return {**self.contrast_inputs(key), **known, "maps": self.map_files(maps)}

    def contrast_pictures(self, key: Contrast, method: str) -> int:
        return self.contrast_galleries()[key, method]

    # judges

    def first_judge(self, key: Map) -> str:
        """The judge whose gradients explain."""
        return self.entry(key).judges[0]

    def judge_file(self, judge: str) -> str | list[str]:
        """The weights of a judge, or of a rival that judges."""
        if judge in self.config.rivals:
            return self.checkpoints.baseline_weights(self.run.baseline_of(judge))
        return self.run.path(f"judges/{judge}.safetensors")

    def judge_precision(self, key: Map, judge: str) -> str:
        """In which a judge computes: the explained model as its entry says; rivals in float32."""
        if judge == "varc":
            return self.entry(key).precision
        return self.config.judges[judge].precision if judge in self.config.judges else "float32"

    def rival(self, judge: str) -> dict[str, Any] | None:
        """A rival that judges: its baseline, what it scores with, and what its public weights are."""
        if judge not in self.config.rivals:
            return None
        name = self.run.baseline_of(judge)
        known = {"baseline": self.checkpoints.baseline(name), "public_sha256": self.checkpoints.public_sha256(name)}
        return known | {"scoring": self.config.rivals[judge].fixed[0].scoring}

    def family(self, judge: str) -> str | None:
        """The family of a judge that is a rival; None for others."""
        return self.run.family_of(judge) if judge in self.config.rivals else None

    def judged_model(self, judge: str) -> str:
        """A model that a judge judges, whose images have the size of its own."""
        return next(model for entry in self.config.explain if judge in entry.judges for model in entry.models)

    def train_judge_inputs(self, judge: str) -> Inputs:
        data, checkpoints = self.config.judges[judge].data, self.checkpoints.shape_files([self.judged_model(judge)])
        found = {"manifest": self.run.manifest(data), "checked": self.run.checked(data)}
        return {**found, "classes": self.run.class_list(data), "checkpoints": checkpoints}

    def judged_by(self, model: str, judge: str) -> Inputs:
        """The weights of the explained model, or of another network that judges its maps."""
        return self.checkpoints.both(model) if judge == "varc" else {"judge": self.judge_file(judge)}

    def faithfulness(self, key: Map) -> Faithfulness:
        settings = self.entry(key).faithfulness
        assert settings is not None
        return settings

    def judge_known(self, model: str, judge: str, part: str) -> Any:
        """What is known of the judging model's checkpoint; nothing where another network judges."""
        return self.checkpoints.checkpoint(model, part) if judge == "varc" else None

    # the table

    def rows(self) -> list[tuple[Map, str, str, str]]:
        """What tables/explanation.csv has: what is explained, judge, curve and substrate."""
        return [
            (key, judge, curve, substrate)
            for key, (_, entry) in self.maps.items()
            if entry.faithfulness
            for judge in ["varc", *entry.judges]
            for curve, substrate in entry.faithfulness.curves
        ]

    def row_params(self) -> list[dict[str, str]]:
        return [{**key._asdict(), "judge": j, "curve": c, "substrate": s} for key, j, c, s in self.rows()]

    def explanation_inputs(self) -> Inputs:
        """Per row of the table: the manifest, its curves and maps, those of its control, and scores that calibrate the
        judge."""
        files: Inputs = {}
        rows = self.rows()
        for i, (key, judge, *kind) in enumerate(rows):
            files[f"manifest{i}"] = self.run.manifest(key.dataset)
            files[f"curves{i}"] = self.curve_files(key, judge)
            files[f"maps{i}"] = self.map_files(key)
            random = [other for other, *rest in rows if rest == [judge, *kind] and self.is_control(other, key)]
            if random:
                files[f"random{i}"] = self.curve_files(random[0], judge)
            tmi = key._replace(method="tmi")
            if tmi in self.maps and tmi != key:
                files[f"tmi{i}"] = self.map_files(tmi)
            if calibration := self.calibration_of(key.dataset, key.model):
                files[f"calibration_manifest{i}"] = self.run.manifest(calibration)
                files[f"calibration_scores{i}"] = self.run.full_scores(key.model, calibration)
        return files

    def calibration_of(self, dataset: str, model: str) -> str | None:
        """The calibration data set of a classifier whose one stage scores as the judge does, with the same model."""
        found = [c for d, c in self.run.clean(self.run.own_pairs) if d == dataset and self.config.own[c].calibrate]
        full = (c for c in found if self.run.funnels[c][0].scorer == model and self.run.is_full(self.run.funnels[c][0]))
        return next((self.config.own[c].calibrate for c in full), None)

    def is_control(self, other: Map, key: Map) -> bool:
        """Whether `other` is of the random maps of the same images and targets, judged in the same precision; `against`
        changes no curve."""
        same = (other.dataset, other.model, other.target) == (key.dataset, key.model, key.target)
        first, second = (self.maps[found][1] for found in (other, key))
        judged_alike = first.images == second.images and first.precision == second.precision
        return other.method == "random" != key.method and same and judged_alike

    def gallery_inputs(self, dataset: str, model: str) -> Inputs:
        """Images, scores of all classes, and tokens under label, prediction, best wrong class and no class."""
        roles = {
            "label": "label",
            "prediction": "prediction",
            "unconditional": "unconditional",
            "wrong": "runner_up-of-label",
        }
        folder = f"token_scores/{model}/{dataset}"
        return {
            "manifest": self.run.manifest(dataset),
            "scores": self.run.full_scores(model, dataset),
            "checkpoints": self.checkpoints.shape_files([model]),
            "classes": self.run.class_list(dataset),
            **{name: self.run.shards_in(f"{folder}/{role}/clean") for name, role in roles.items()},
        }

    def pictures(self, dataset: str, model: str) -> int:
        entries = self.entries_of(dataset, model)
        return next(entry.gallery for entry in entries if entry.gallery and not entry.pairs)


def maps_of(entry: Explanation) -> list[tuple[Map, str]]:
    """The maps of an entry, each with its method."""
    target, against = entry.roles if entry.pairs else (str(entry.target), str(entry.against))
    return [
        (Map(dataset, model, spell_method(entry, method), target, against), method)
        for dataset in entry.datasets
        for model in entry.models
        for method in entry.methods
    ]


def spell_method(entry: Explanation, method: str) -> str:
    """A method of an entry as in paths: with samples and sigma where TMI is averaged, with the budget of what has one
    where pairs are explained, so that several can be compared, and with the precision of what the model scores."""
    precision = spell_precision(entry.precision)
    if method.startswith("tmi"):
        averaged = f"x{entry.samples}s{spell_sigma(entry.sigma)}" if entry.samples > 1 else ""
        return f"{method}{averaged}{precision}"
    budget = f"-b{entry.budget}" if entry.pairs and method in BUDGETED else ""
    return f"{method}{budget}{precision if method in MASKED_METHODS else ''}"


def pairs_of(role: str) -> str:
    """What paths call the file of pairs that tells a role's class; empty for other roles."""
    beginning, _, name = role.partition("-of-")
    return name if beginning in ("target", "against") else ""
