"""What the jobs of encoding, training, scoring, pruning and predicting read. Methods take wildcards by their names."""

from typing import Any

from varc.planning import images_at_once
from workflow.config.calibration import same_root
from workflow.config.lineage import bases, finetuning, patch_nums, var_training
from workflow.config.models import FinetunedModel, TrainedModel, Training, VQVAETraining
from workflow.run import Inputs, Run
from workflow.stages import (
    AdaptiveRivalStage,
    AdaptiveScaleStage,
    AdaptiveStage,
    CertifiedStage,
    RivalStage,
    SampleStage,
    ScaleStage,
    Stage,
    spell_noises,
    spell_sigma,
)


class Jobs:
    def __init__(self, run: Run):
        self.run, self.config, self.checkpoints = run, run.config, run.checkpoints

    # tokens

    def vqvae_file(self, vqvae: str) -> Any:
        return self.checkpoints.weights(self.checkpoints.vqvaes[vqvae], "vqvae")

    def vqvae_known(self, vqvae: str) -> Any:
        return self.checkpoints.checkpoint(self.checkpoints.vqvaes[vqvae], "vqvae")

    def encode_batch(self, vqvae: str) -> int:
        """How many images are encoded or tokenised at a time: fewer of large ones."""
        return images_at_once(self.checkpoints.side(vqvae))

    # models

    def trained(self) -> list[str]:
        """The models that are trained here."""
        return [name for name, entry in self.config.models.items() if isinstance(entry, TrainedModel)]

    def with_vqvae(self) -> list[str]:
        """Those that train a VQ-VAE of their own."""
        return [name for name in self.trained() if isinstance(self.training(name).vqvae, VQVAETraining)]

    def finetuned(self) -> list[str]:
        return [name for name, entry in self.config.models.items() if isinstance(entry, FinetunedModel)]

    def training(self, model: str) -> Training:
        entry = self.config.models[model]
        assert isinstance(entry, TrainedModel)
        return entry.train

    def training_settings(self, model: str, part: str) -> dict[str, Any]:
        return self.training(model).given()[part]

    def train_vqvae_inputs(self, model: str) -> Inputs:
        """The images that a VQ-VAE is trained on, and those that it is validated on."""
        files = self.pictures(self.training(model).data)
        if dataset := self.training_settings(model, "vqvae").get("validate"):
            files |= {f"validation_{name}": found for name, found in self.pictures(dataset).items()}
        return files

    def pictures(self, dataset: str) -> Inputs:
        """What says which images a data set has, and that all can be decoded."""
        return {"manifest": self.run.manifest(dataset), "checked": self.run.checked(dataset)}

    def train_var_inputs(self, model: str) -> Inputs:
        """What a VAR is trained on, also the images where they are augmented, and what it is validated on."""
        settings, dataset = self.training_settings(model, "var"), self.training(model).data
        return {
            **(self.pictures(dataset) if "augment" in settings else {"manifest": self.run.manifest(dataset)}),
            "classes": self.run.class_list(dataset),
            "tokens": self.learned_tokens(model),
            "vqvae": self.checkpoints.weights(model, "vqvae"),
            **self.validation_inputs(model, settings),
        }

    def validation_inputs(self, model: str, settings: dict[str, Any]) -> Inputs:
        """What a VAR is validated on, if it is."""
        if not (dataset := settings.get("validate")):
            return {}
        return {
            "validation_manifest": self.run.manifest(dataset),
            "validation_tokens": self.run.tokens(model, dataset, ["clean"]),
            "validation_classes": self.run.class_list(dataset),
        }

    def trained_validation(self, model: str, part: str) -> dict[str, Any] | None:
        """The entry of the data set that a part of a model is validated on, if it is."""
        dataset = self.training_settings(model, part).get("validate")
        return dataset and self.run.dataset(dataset)

    def learned_tokens(self, model: str) -> list[str]:
        """The tokens that a VAR learns from."""
        settings = var_training(self.config.models, model)
        noises = spell_noises(spell_sigma(settings.get("sigma")), settings["samples"])
        return self.run.tokens(model, settings["data"], noises)

    def base(self, model: str) -> str:
        """The model that a model is fine-tuned from."""
        entry = self.config.models[model]
        assert isinstance(entry, FinetunedModel)
        return entry.finetune

    def finetuning(self, model: str) -> dict[str, Any]:
        return finetuning(self.config.models, model)

    def finetune_inputs(self, model: str) -> Inputs:
        """What a model is fine-tuned from and on, and the images that it is validated on."""
        settings = self.finetuning(model)
        return {
            "manifest": self.run.manifest(settings["data"]),
            "tokens": self.learned_tokens(model),
            "vqvae": self.checkpoints.weights(model, "vqvae"),
            "var": self.checkpoints.weights(self.base(model), "var"),
            **self.validation_inputs(model, settings),
        }

    def validation_dataset(self, model: str) -> dict[str, Any] | None:
        dataset = self.finetuning(model).get("validate")
        return dataset and self.run.dataset(dataset)

    def base_known(self, model: str) -> Any:
        return self.checkpoints.checkpoint(self.base(model), "var")

    def sampled_dataset(self, model: str) -> str:
        """The data set whose classes are drawn: the one that a model was trained or fine-tuned on."""
        if isinstance(self.config.models[model], TrainedModel):
            return self.training(model).data
        users = [model, *(name for name in self.finetuned() if model in bases(self.config.models, name))]
        return next(self.finetuning(name)["data"] for name in users if name in self.finetuned())

    # scores

    def score_inputs(self, model: str, dataset: str, candidates: str, noise: str, shard: str) -> Inputs:
        """What a stage reads for a shard: tokens, the model, and the candidates that an earlier one kept."""
        return {
            "tokens": self.run.path(f"{self.run.tokens_folder(model, dataset, noise)}/{shard}.parquet"),
            "candidates": self.run.candidates(model, dataset, candidates, shard),
            "classes": self.run.class_list(dataset),
            **self.checkpoints.both(model),
        }

    def stage_settings(self, model: str, dataset: str, candidates: str, stage: str) -> dict[str, Any]:
        found = self.run.scored[model, dataset, candidates, stage]
        assert isinstance(found, ScaleStage)
        return {"scales": found.scales, "precision": found.precision, "guidance": found.guidance}

    def scales(self, scorer: str, dataset: str, candidates: str) -> int | None:
        """At how many scales the stage that keeps the candidates scores; None for a rival's."""
        return scales_of(self.run.pruned[scorer, dataset, candidates])

    def score_adaptive_inputs(self, model: str, dataset: str, stage: str, shard: str) -> Inputs:
        """What an adaptive stage reads for a shard: tokens of all samples, the model, and its thresholds."""
        found = self.adaptive(model, dataset, stage)
        return {
            "tokens": self.run.tokens(model, dataset, found.noises, shard),
            "thresholds": self.run.thresholds(found),
            "scale_weights": self.run.scale_weights(found),
            "manifest": self.run.manifest(dataset),
            "calibration": self.calibration_images(dataset, found.calibrate),
            "classes": self.run.class_list(dataset),
            **self.checkpoints.both(model),
        }

    def score_certified_inputs(self, model: str, dataset: str, stage: str, shard: str) -> Inputs:
        """What a certified stage reads for a shard: the scores of all classes in the lower precision, how far behind
        float32's prediction may be, and what it scores with."""
        found = self.certified(model, stage)
        return {
            "tokens": self.run.path(f"{self.run.tokens_folder(model, dataset, 'clean')}/{shard}.parquet"),
            "quick": self.run.scores(dataset, found.quick, shard),
            "delta": self.run.delta(found),
            "scale_weights": self.run.scale_weights(found),
            "manifest": self.run.manifest(dataset),
            "calibration": self.calibration_images(dataset, found.calibrate),
            **self.checkpoints.both(model),
        }

    def calibration_images(self, dataset: str, calibrate: str) -> str | list[str]:
        """The manifest of calibration images, where a data set could have some of them by their image_ids."""
        ids_mean_images = same_root(self.config.datasets[dataset], self.config.datasets[calibrate])
        return self.run.manifest(calibrate) if ids_mean_images else []

    def certify_inputs(self, model: str, dataset: str, stage: str) -> Inputs:
        """What delta comes from: scores of all classes of the calibration images in both precisions."""
        found = self.certified(model, stage)
        return {
            "manifest": self.run.manifest(dataset),
            "quick": self.run.scores(dataset, found.quick),
            "exact": self.run.scores(dataset, self.run.exact_stage(found)),
            "scale_weights": self.run.scale_weights(found),
        }

    def certified(self, model: str, stage: str) -> CertifiedStage:
        """The certified stage of a name."""
        certified = (found for found in self.run.scored.values() if isinstance(found, CertifiedStage))
        return next(found for found in certified if (found.scorer, found.name) == (model, stage))

    def adaptive(self, model: str, dataset: str, stage: str) -> AdaptiveScaleStage:
        """The adaptive stage of a name that scores a data set."""
        found = self.run.scored[model, dataset, "all", stage]
        assert isinstance(found, AdaptiveScaleStage)
        return found

    def adaptive_rival(self, baseline: str, dataset: str, stage: str) -> AdaptiveRivalStage:
        """The same of a rival."""
        found = self.run.scored[baseline, dataset, "all", stage]
        assert isinstance(found, AdaptiveRivalStage)
        return found

    def calibrate_inputs(self, scorer: str, dataset: str, stage: str) -> Inputs:
        """What thresholds come from: scores of all classes in all steps and samples, on the calibration images."""
        found = self.thresholded(scorer, dataset, stage)
        scores, weights = self.run.scores(dataset, found.full), self.run.scale_weights(found)
        return {"manifest": self.run.manifest(dataset), "scores": scores, "scale_weights": weights}

    def fit_scale_weights_inputs(self, model: str, dataset: str) -> Inputs:
        """What the weights of the scales are fitted on: labels, and scores of all classes at all scales."""
        return {"manifest": self.run.manifest(dataset), "scores": self.run.full_scores(model, dataset)}

    def thresholded(self, scorer: str, dataset: str, stage: str) -> AdaptiveStage:
        """The adaptive stage whose thresholds come from a data set."""
        adaptive = (found for found in self.run.scored.values() if isinstance(found, AdaptiveStage))
        return next(s for s in adaptive if (s.scorer, s.calibrate, s.name) == (scorer, dataset, stage))

    def rival_stage(self, baseline: str, dataset: str, candidates: str, stage: str) -> RivalStage:
        found = self.run.scored[baseline, dataset, candidates, stage]
        assert isinstance(found, RivalStage)
        return found

    def score_baseline_inputs(self, baseline: str, dataset: str, candidates: str, stage: str, shard: str) -> Inputs:
        """What a rival's stage reads for a shard: weights, the images, and what an earlier stage scored and kept."""
        files = self.rival_inputs(baseline, dataset)
        own = self.rival_stage(baseline, dataset, candidates, stage)
        if own.before:
            files["candidates"] = self.run.candidates(baseline, dataset, candidates, shard)
        if own.before and not isinstance(own, SampleStage):
            files["earlier"] = self.run.path(f"{own.before[-1].folder(dataset)}/{shard}.parquet")
        return files

    def rival_inputs(self, baseline: str, dataset: str) -> Inputs:
        """What all stages of a rival read: weights and the images."""
        return {
            "manifest": self.run.manifest(dataset),
            "checked": self.run.checked(dataset),
            "weights": self.checkpoints.baseline_weights(baseline),
            "cards": self.checkpoints.baseline_cards(baseline),
            "classes": self.run.class_list(dataset),
        }

    def score_baseline_adaptive_inputs(self, baseline: str, dataset: str, stage: str) -> Inputs:
        """What an adaptive stage of a rival reads: weights, the images, and its thresholds."""
        found = self.adaptive_rival(baseline, dataset, stage)
        return {
            "thresholds": self.run.thresholds(found),
            "calibration": self.calibration_images(dataset, found.calibrate),
            **self.rival_inputs(baseline, dataset),
        }

    # candidates and predictions

    def prune_inputs(self, scorer: str, dataset: str, candidates: str, shard: str) -> Inputs:
        """The scores that a pruning step looks at, one file per sample, and the weights of their scales."""
        stage = self.run.pruned[scorer, dataset, candidates]
        return {"scores": self.run.scores(dataset, stage, shard), "scale_weights": self.run.scale_weights(stage)}

    def sample(self, baseline: str, dataset: str, candidates: str, stage: str) -> dict[str, Any] | None:
        """The sample that a rival's job scores, where its family scores them one by one."""
        own = self.rival_stage(baseline, dataset, candidates, stage)
        return own.scoring if isinstance(own, SampleStage) else None

    def scorings(self, baseline: str, dataset: str, candidates: str, stage: str) -> list[dict[str, Any]]:
        """What the stages up to a rival's score with; none where a job scores one sample, see sample."""
        own = self.rival_stage(baseline, dataset, candidates, stage)
        return [] if isinstance(own, SampleStage) else own.scorings

    def keep(self, scorer: str, dataset: str, candidates: str) -> int:
        return self.run.pruned[scorer, dataset, candidates].keep

    def expected(self, classifier: str) -> dict[str, str | None]:
        """What the scores of a classifier must say of the weights that they are made with."""
        return self.checkpoints.expected(self.run.funnels[classifier][0].scorer)

    def predict_inputs(self, classifier: str, dataset: str) -> Inputs:
        """All that a prediction is made of: per stage, the scores of all samples, and of each sample all shards."""
        stages = self.run.funnels[classifier]
        noises = sorted({noise for stage in stages for noise in stage.noises})
        files: Inputs = {"manifest": self.run.manifest(dataset), "features": [], "tokens": []}
        files["scale_weights"] = [] if self.run.is_adaptive(classifier) else self.run.scale_weights(stages[0])
        if noises:
            files["features"] = self.run.features(stages[0].scorer, dataset)
            files["tokens"] = self.run.tokens(stages[0].scorer, dataset, noises)
        return files | {f"stage{i}": self.run.scores(dataset, stage) for i, stage in enumerate(stages, 1)}

    def combine(self, scorer: str, dataset: str, candidates: str) -> str:
        """How the samples of the stage that keeps the candidates become one score."""
        return self.run.pruned[scorer, dataset, candidates].combine

    def combines(self, classifier: str) -> list[str]:
        """The same of each stage."""
        return [stage.combine for stage in self.run.funnels[classifier]]

    def samples(self, classifier: str) -> list[int]:
        """Of each stage, how many samples its scores are the mean of."""
        return [len(stage.folders("")) for stage in self.run.funnels[classifier]]

    def stage_scales(self, classifier: str) -> list[int | None]:
        """Of each stage, at how many scales it scores; None for those of rivals, and for adaptive ones."""
        return [scales_of(stage) for stage in self.run.funnels[classifier]]

    def patch_nums(self, classifier: str) -> list[int]:
        """Tokens per side of each scale of a classifier's model; none for a rival."""
        entry = self.config.own.get(classifier)
        return patch_nums(self.config.models, entry.model) if entry else []


def scales_of(stage: Stage) -> int | None:
    return stage.scales if isinstance(stage, ScaleStage) else None
