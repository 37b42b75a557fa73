"""The tables of a run: which there are, and what each is made from."""

import os
from typing import Any

from workflow.config.data import shift_runs
from workflow.config.lineage import ancestry, bases, origin, patch_nums, vqvae_owner
from workflow.config.models import FinetunedModel, PublicModel, TrainedModel, VQVAETraining
from workflow.run import Inputs, Pair, Run
from workflow.stages import AdaptiveRivalStage, AdaptiveStage, RivalStage, ScaleStage, Stage


class Tables:
    def __init__(self, run: Run):
        self.run, self.config, self.checkpoints = run, run.config, run.checkpoints

    def targets(self) -> list[str]:
        """All tables of classifiers and models, training curves and samples."""
        config, run = self.config, self.run
        wanted = {
            ("accuracy.csv", "cost.csv", "gflops.csv", "per_class.csv", "confusion.csv", "confusion.svg"): True,
            ("main.csv", "main.svg", "main_paired.csv"): run.rival_pairs,
            ("robustness.csv",): len(run.evaluated()) > 1,
            ("robustness_paired.csv", "robustness.svg"): config.shifts,
            ("adaptive.csv", "adaptive.svg"): self.adaptive_rows(),
            ("certified.csv",): self.certified_rows(),
            ("calibration.csv", "calibration.svg"): self.calibrated(),
            ("scale_weights.csv",): run.fits(),
            ("ablation.csv",): config.ablation,
            ("smoothing.csv", "smoothing.svg"): config.smoothing,
            ("incremental.csv", "incremental.svg"): config.incremental,
            ("pruning.csv", "pruning.svg"): self.full_pairs() or run.rival_pairs,
        }
        tables = [run.table(name) for names, wants in wanted.items() if wants for name in names]
        return tables + self.curves() + [run.path(f"models/{name}/samples.png") for name in self.sampled_models()]

    def curves(self) -> list[str]:
        """The training curves of all models that the evaluated ones are made from."""
        models, found = self.config.models, []
        for name in sorted({made for model in self.run.models for made in ancestry(models, model)}):
            entry = models[name]
            if isinstance(entry, TrainedModel):
                parts = ["vqvae"] if isinstance(entry.train.vqvae, VQVAETraining) else []
                found += [self.run.path(f"models/{name}/{part}_curve.svg") for part in [*parts, "var"]]
            elif isinstance(entry, FinetunedModel):
                found.append(self.run.path(f"models/{name}/finetune_curve.svg"))
        return found

    def sampled_models(self) -> list[str]:
        """The models whose samples are drawn: the fine-tuned ones and what they come from."""
        tuned = ((name, self.config.models[name]) for name in self.run.models)
        return sorted({n for name, entry in tuned if isinstance(entry, FinetunedModel) for n in (name, entry.finetune)})

    # accuracy, costs, robustness

    def plan(self) -> str | list[str]:
        """The plan, where one was made."""
        return found if os.path.exists(found := self.run.table("plan.csv")) else []

    def adaptive_pairs(self) -> list[Pair]:
        return [(dataset, name) for dataset, name in self.run.pairs if self.run.is_adaptive(name)]

    def open_pairs(self) -> list[Pair]:
        return [(dataset, name) for dataset, name in self.run.pairs if self.run.is_open(name)]

    def open_scores(self) -> list[str]:
        """The scores of all classifiers whose costs only they tell."""
        pairs = self.open_pairs()
        return [file for dataset, name in pairs for file in self.run.scores(dataset, self.run.funnels[name][-1])]

    def gflops_params(self) -> dict[str, Any]:
        """The pairs, and what the costs of their stages are counted from."""
        run, config = self.run, self.config
        own = sorted({name for _, name in run.own_pairs})
        rivals = {name: self.rival_stages(name) for name in sorted({name for _, name in run.rival_pairs})}
        return {
            "pairs": run.pairs,
            "shards": run.shards if self.open_pairs() else 0,
            "datasets": {name: entry.params() for name, entry in run.evaluated().items()},
            "models": {name: config.own[name].model for name in own},
            "funnels": [self.funnel(dataset, name) for dataset, name in run.pairs],
            "rivals": rivals,
            "baselines": {e["baseline"]: self.checkpoints.baseline(e["baseline"]) for e in rivals.values()},
            "training": run.rival_training(),
            "shapes": self.checkpoints.shapes(self.run.models),
        }

    def rival_stages(self, classifier: str) -> dict[str, Any]:
        """A rival's baseline, and its stages, or what costs of an adaptive one are counted from."""
        entry, stage = self.config.rivals[classifier], self.run.funnels[classifier][0]
        if isinstance(stage, AdaptiveRivalStage):
            return {"baseline": entry.baseline, "steps": self.rival_steps(stage, stage.scoring)}
        return {"baseline": entry.baseline, "stages": [fixed.given() for fixed in entry.fixed]}

    def funnel(self, dataset: str, classifier: str) -> list[dict[str, Any]]:
        """The stages of a classifier on a data set as the table of costs takes them; of a rival only what is open."""
        if classifier in self.config.rivals and not self.run.is_open(classifier):
            return []
        return [
            {"scales": stage.scales, "samples": stage.samples, "keep": stage.keep}
            | {"reused": self.run.reused(dataset, stage)}
            | ({"guidance": stage.guidance} if stage.guidance else {})
            if isinstance(stage, ScaleStage)
            else {"open": stage.rule}
            for stage in self.run.funnels[classifier]
        ]

    def clean_datasets(self) -> list[str]:
        return [name for name in self.run.evaluated() if name not in self.run.shifted]

    def shift_predictions(self) -> list[str]:
        """The predictions that the tables of shifts are made from, in the order of shift_runs."""
        return self.run.predictions((run.evaluated, run.classifier) for run in shift_runs(self.config.shifts))

    def shift_manifests(self) -> list[str]:
        """The manifest of the images of each of these."""
        return [self.run.manifest(run.evaluated) for run in shift_runs(self.config.shifts)]

    def shift_rows(self) -> list[tuple[Any, ...]]:
        return [run[:4] for run in shift_runs(self.config.shifts)]

    # pruning

    def full_pairs(self) -> list[Pair]:
        """(data set, model) that some classifier scores at all scales for all classes."""
        firsts = ((dataset, self.run.funnels[name][0]) for dataset, name in self.run.clean(self.run.own_pairs))
        return sorted({(dataset, first.scorer) for dataset, first in firsts if self.run.is_full(first)})

    def first_stages(self) -> list[Pair]:
        """(data set, classifier) of the rivals' first stages that score all classes alike, each stage once."""
        found: dict[tuple[str, str], Pair] = {}
        fixed = [pair for pair in self.run.rival_pairs if not self.run.is_open(pair[1])]
        for dataset, name in self.run.clean(fixed):
            found.setdefault((dataset, self.run.funnels[name][0].folder(dataset)), (dataset, name))
        return list(found.values())

    def rival_firsts(self) -> list[dict[str, Any]]:
        """What tables/pruning.csv has of each of them: how many samples its scores are of, how they become one, and
        where they are one order's, by chunks, what the costs of these are counted from."""
        rows = []
        for dataset, name in self.first_stages():
            stage = self.run.funnels[name][0]
            assert isinstance(stage, RivalStage)
            names = {"dataset": dataset, "classifier": name, "samples": len(stage.folders(dataset))}
            chunk = None if stage.scoring.get("tokens") else stage.scoring.get("chunk")
            steps = self.rival_steps(stage, {"chunk": chunk}) if chunk and names["samples"] == 1 else None
            rows.append({**names, "combine": stage.combine, "steps": steps})
        return rows

    def pruning_inputs(self) -> Inputs:
        full, rivals = self.full_pairs(), self.first_stages()
        return {
            "manifests": [self.run.manifest(dataset) for dataset, _ in full],
            "scores": [file for dataset, model in full for file in self.run.full_scores(model, dataset)],
            "rival_manifests": [self.run.manifest(dataset) for dataset, _ in rivals],
            "rival_scores": [
                f for dataset, name in rivals for f in self.run.scores(dataset, self.run.funnels[name][0])
            ],
            "gflops": self.run.table("gflops.csv") if self.run.rival_pairs else [],
            "checkpoints": self.checkpoints.shape_files(self.run.models),
        }

    # adaptive, calibration

    def reference(self, dataset: str, classifier: str) -> str | None:
        """The fixed funnel that an adaptive one is compared with: the longest of its scorer on the data set, if any
        with the same weights of the scales."""
        scorer = self.run.funnels[classifier][0].scorer
        same = [c for d, c in self.run.pairs if d == dataset and self.run.funnels[c][0].scorer == scorer]
        fixed = [name for name in same if not self.run.is_open(name)]
        weights = self.run.funnels[classifier][0].weights
        likest = (self.run.funnels[name] for name in fixed)
        order = {name: (stages[0].weights == weights, len(stages)) for name, stages in zip(fixed, likest)}
        return max(fixed, key=order.__getitem__, default=None)

    def adaptive_rows(self) -> list[dict[str, Any]]:
        """What tables/adaptive.csv compares: data set, classifier, its alpha, what scores, the fixed funnel beside it;
        of a rival also what the costs of its steps are counted from."""
        rows = []
        for dataset, name in self.run.clean(self.adaptive_pairs()):
            stage = self.run.funnels[name][0]
            assert isinstance(stage, AdaptiveStage)
            names = {"dataset": dataset, "classifier": name, "reference": self.reference(dataset, name)}
            rival = self.rival_steps(stage, stage.scoring) if isinstance(stage, AdaptiveRivalStage) else None
            rows.append({**names, "alpha": stage.alpha, "scorer": stage.scorer, "rival": rival})
        return rows

    def rival_steps(self, stage: Stage, adaptive: dict[str, Any]) -> dict[str, Any]:
        """What the costs of a rival's steps are counted from: its baseline, what that is trained on, their settings."""
        entry = self.config.baselines[stage.scorer]
        training = entry.train and self.run.dataset(entry.train.data)
        baseline = self.checkpoints.baseline(stage.scorer)
        return {"baseline": baseline, "training": training, "adaptive": adaptive}

    def adaptive_inputs(self) -> Inputs:
        """Per row of the table: what calibration_files says, and a prediction."""
        files: Inputs = {}
        for i, row in enumerate(self.adaptive_rows()):
            files |= self.calibration_files(i, row["dataset"], row["classifier"])
            if row["reference"]:
                files[f"reference{i}"] = self.run.predictions([(row["dataset"], row["reference"])])[0]
        return files

    def calibration_files(self, i: int, dataset: str, classifier: str) -> Inputs:
        """Manifests and scores of all classes of a row's evaluated and calibration images; weights of the scales."""
        stage, files = self.run.calibrating_stage(classifier), Inputs()
        files[f"scale_weights{i}"] = self.run.scale_weights(self.run.funnels[classifier][0])
        for kind, images in (("test", dataset), ("calibration", self.config.classifiers[classifier].calibrate)):
            assert images is not None
            files[f"{kind}_manifest{i}"] = self.run.manifest(images)
            files[f"{kind}_scores{i}"] = self.run.scores(images, stage)
        return files

    def certified_rows(self) -> list[dict[str, Any]]:
        """What tables/certified.csv has: data set, classifier and its settings, and the classifier whose prediction it
        gives, where one is evaluated."""
        rows = []
        for dataset, name in self.run.clean(self.run.own_pairs):
            if stage := self.run.certified(name):
                exact = self.run.exact_stage(stage).folders(dataset)
                others = (c for d, c in self.run.own_pairs if d == dataset and self.only_folders(d, c) == exact)
                same = [c for c in others if self.run.funnels[c][0].weights == stage.weights]
                names = {"dataset": dataset, "classifier": name, "reference": same[0] if same else None}
                known = {"model": stage.scorer, "scales": stage.scales, "alpha": stage.alpha}
                rows.append({**names, **known, "precision": stage.quick.precision})
        return rows

    def only_folders(self, dataset: str, classifier: str) -> list[str]:
        """The folders of the scores of a classifier that has one stage; none for others."""
        first, *others = self.run.funnels[classifier]
        return [] if others else first.folders(dataset)

    def certified_inputs(self) -> Inputs:
        """Per row of the table: manifest, scores in both precisions and of the stage, delta, weights of the scales."""
        files: Inputs = {}
        for i, row in enumerate(self.certified_rows()):
            stage, dataset = self.run.certified(row["classifier"]), row["dataset"]
            assert stage
            files[f"manifest{i}"] = self.run.manifest(dataset)
            files[f"quick{i}"] = self.run.scores(dataset, stage.quick)
            files[f"scores{i}"] = self.run.scores(dataset, stage)
            files[f"exact{i}"] = self.run.scores(dataset, self.run.exact_stage(stage)) if row["reference"] else []
            files[f"delta{i}"] = self.run.delta(stage)
            files[f"scale_weights{i}"] = self.run.scale_weights(stage)
        return files

    def calibrated(self) -> list[Pair]:
        """Pairs that score all classes at all scales in one stage, so that a softmax over them has a meaning."""
        pairs = self.run.clean(self.run.own_pairs) + self.run.clean(self.run.rival_pairs)
        fixed = [(dataset, name) for dataset, name in pairs if not self.run.is_open(name)]
        return [(dataset, name) for dataset, name in fixed if self.config.classifiers[name].calibrate]

    def calibration_inputs(self) -> Inputs:
        """Per calibrated pair: what calibration_files says."""
        files: Inputs = {}
        for i, (dataset, name) in enumerate(self.calibrated()):
            files |= self.calibration_files(i, dataset, name)
        return files

    # ablation, smoothing

    def training_of(self, model: str) -> str:
        """How a model came about: "public", "train", "cca", "cross_entropy" or "discriminative"."""
        entry = self.config.models[model]
        if isinstance(entry, FinetunedModel):
            return entry.objective
        return "train" if isinstance(entry, TrainedModel) else "public"

    def ablation_rows(self) -> list[dict[str, Any]]:
        """What tables/ablation.csv compares with the plain classifier: all that do not prune, on its data sets."""
        pairs, rows = self.run.clean(self.run.own_pairs), []
        datasets = {dataset for dataset, name in pairs if name == self.config.ablation}
        for dataset, name in pairs:
            stage, *others = self.run.funnels[name]
            if dataset not in datasets or others or not self.run.is_full(stage):
                continue
            assert isinstance(stage, ScaleStage)
            base = origin(self.config.models, stage.scorer)
            names = {"dataset": dataset, "classifier": name, "model": stage.scorer, "base": base}
            settings = {"samples": stage.samples, "sigma": stage.sigma, "scale_weights": stage.weights}
            rows.append({**names, "training": self.training_of(stage.scorer), **settings})
        return rows

    def ablation_inputs(self) -> Inputs:
        """Per row of the table: the manifest, the scores of all samples, and the weights of their scales."""
        files: Inputs = {}
        for i, row in enumerate(self.ablation_rows()):
            files[f"scale_weights{i}"] = self.run.scale_weights(self.run.funnels[row["classifier"]][0])
            files[f"manifest{i}"] = self.run.manifest(row["dataset"])
            files[f"scores{i}"] = self.run.full_scores(row["model"], row["dataset"], row["sigma"], row["samples"])
        return files

    def tokens_of_models(self) -> dict[str, int]:
        """How many tokens an image has, by model."""
        return {name: sum(p * p for p in patch_nums(self.config.models, name)) for name in self.run.models}

    def smoothing_inputs(self) -> Inputs:
        """Per row of the grid: the manifest, and scores and tokens of all samples."""
        files: Inputs = {}
        for i, (dataset, model, sigma, counts) in enumerate(self.run.smoothing_grid()):
            stage = self.run.full_stage(model, sigma, counts[-1])
            files[f"manifest{i}"] = self.run.manifest(dataset)
            files[f"scores{i}"] = self.run.scores(dataset, stage)
            files[f"tokens{i}"] = self.run.tokens(model, dataset, stage.noises)
        return files

    # main

    def main_pairs(self) -> list[Pair]:
        """What tables/main.csv compares: every classifier on every data set. Not on the data sets of `shifts`, which
        robustness.csv has, unless there are no others."""
        clean = self.run.clean(self.run.pairs)
        few = {entry.dataset for entry in self.config.shifts}
        return [pair for pair in clean if pair[0] not in few] or clean

    def main_rows(self) -> list[dict[str, Any]]:
        """The pairs of tables/main.csv with their models' cards: none for a model that goes back to public weights, or
        whose VQ-VAE does, of whose training nothing is known here."""
        return [{"dataset": dataset, "classifier": name, **self.made_of(name)} for dataset, name in self.main_pairs()]

    def made_of(self, classifier: str) -> dict[str, Any]:
        """The family of a classifier, the cards of its models, and of those that they were fine-tuned from."""
        stage, models = self.run.funnels[classifier][0], self.config.models
        if stage.scorer in self.config.baselines:
            trained = self.config.baselines[stage.scorer].train
            cards = [self.run.path(f"baselines/{stage.scorer}.json")] if trained else []
            return {"family": self.run.family_of(classifier), "cards": cards, "before": []}
        model, *before = bases(models, stage.scorer)
        if isinstance(models[owner := vqvae_owner(models, model)], PublicModel):
            return {"family": "var", "cards": [], "before": []}
        cards = [self.run.path(f"models/{model}/var.json"), self.run.path(f"models/{owner}/vqvae.json")]
        return {"family": "var", "cards": cards, "before": [self.run.path(f"models/{m}/var.json") for m in before]}

    def main_cards(self) -> list[str]:
        return sorted({card for row in self.main_rows() for card in [*row["cards"], *row["before"]]})
