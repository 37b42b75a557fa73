"""The files of `incremental`: classes learned task by task. Methods take wildcards by their names."""

from typing import Any

from workflow.config.entry import ConfigError
from workflow.config.lineage import finetuning, image_size, origin
from workflow.config.models import TrainedModel
from workflow.config.tables import Incremental
from workflow.run import Run
from workflow.stages import spell_noises, spell_sigma

Inputs = dict[str, Any]
STRATEGIES = {
    "learn_tasks_var": r"var_\w+",
    "learn_tasks_convnet": "none|cwr|joint",
    "learn_tasks_baseline": r"family_\w+",
}


class Learning:
    """Raises ConfigError where two entries would learn the same."""

    def __init__(self, run: Run):
        self.run, self.config, self.checkpoints = run, run.config, run.checkpoints
        self.entries: dict[tuple[str, str, str, str], Incremental] = {}  # by the wildcards of their files
        for entry in self.config.incremental:
            for tasks, strategy in entry.runs():
                key = entry.classifier, entry.test, str(tasks), strategy
                if key in self.entries:
                    there = f"{strategy} of {entry.classifier} on {entry.test} in {tasks} tasks"
                    raise ConfigError(f"incremental: {there} is there twice; take one away")
                self.entries[key] = entry

    def model(self, classifier: str) -> str:
        return self.config.own[classifier].model

    def number(self, tasks: str) -> int:
        """How many tasks."""
        return int(tasks)

    def seed(self, seed: str) -> int:
        return int(seed)

    def train(self, classifier: str, dataset: str, tasks: str, strategy: str) -> dict[str, Any]:
        """The training settings: those of the entry, else those of the model that the classifier's comes from."""
        if own := self.entries[classifier, dataset, tasks, strategy].train:
            return own.given()
        start = self.config.models[origin(self.config.models, self.model(classifier))]
        assert isinstance(start, TrainedModel)
        return start.train.var.given()

    def train_dataset(self, classifier: str, dataset: str, tasks: str, strategy: str) -> dict[str, Any]:
        return self.run.dataset(self.entries[classifier, dataset, tasks, strategy].data)

    def inputs(self, classifier: str, dataset: str, tasks: str, strategy: str) -> Inputs:
        """The images to learn and those to be tested on."""
        data = self.entries[classifier, dataset, tasks, strategy].data
        manifests = {"train_manifest": self.run.manifest(data), "test_manifest": self.run.manifest(dataset)}
        return {**manifests, "classes": self.run.class_list(data)}

    def var_inputs(self, classifier: str, dataset: str, tasks: str, strategy: str) -> Inputs:
        """Also their tokens, the VQ-VAE, and the public weights that a VAR starts from, if any."""
        entry, model = self.config.own[classifier], self.model(classifier)
        data, train = (
            self.entries[classifier, dataset, tasks, strategy].data,
            self.train(classifier, dataset, tasks, strategy),
        )
        train_noises = spell_noises(spell_sigma(train.get("sigma")), train["samples"])
        noises = spell_noises(spell_sigma(entry.sigma), entry.samples)
        return self.inputs(classifier, dataset, tasks, strategy) | {
            "vqvae": self.checkpoints.weights(model, "vqvae"),
            "var": self.start_weights(classifier),
            "train_tokens": self.run.tokens(model, data, train_noises),
            "test_tokens": self.run.tokens(model, dataset, noises),
        }

    def start(self, classifier: str) -> str:
        """The model that a classifier's model comes from."""
        return origin(self.config.models, self.model(classifier))

    def start_weights(self, classifier: str) -> str | list[str]:
        """The public weights that a VAR starts from; none where it is trained here, and starts from nothing."""
        trained = isinstance(self.config.models[self.start(classifier)], TrainedModel)
        return [] if trained else self.checkpoints.weights(self.start(classifier), "var")

    def cca(self, classifier: str) -> dict[str, Any]:
        return finetuning(self.config.models, self.model(classifier))

    def funnel(self, classifier: str) -> list[dict[str, Any]]:
        return self.config.own[classifier].given()["funnel"]

    def samples(self, classifier: str) -> int:
        return self.config.own[classifier].samples

    def known(self, classifier: str, part: str) -> Any:
        name = self.model(classifier) if part == "vqvae" else self.start(classifier)
        return self.checkpoints.checkpoint(name, part)

    def size(self, classifier: str) -> int | None:
        return image_size(self.config.models, self.model(classifier))

    def baseline(self, classifier: str) -> dict[str, Any]:
        return self.checkpoints.baseline(self.run.baseline_of(classifier))

    def stages(self, classifier: str) -> list[dict[str, Any]]:
        return [stage.given() for stage in self.config.rivals[classifier].stages]

    # the table

    def family(self, classifier: str, strategy: str) -> str:
        """The family of what learns: a rival's, the VAR, or the convolutional network."""
        if classifier in self.config.rivals:
            return self.run.family_of(classifier)
        return "var" if strategy.startswith("var_") else "convnet"

    def rows(self) -> list[dict[str, Any]]:
        """What tables/incremental.csv compares: one row per data set, classifier, number of tasks and strategy."""
        names = ("classifier", "dataset", "tasks", "strategy")
        rows: list[dict[str, Any]] = [dict(zip(names, key, strict=True)) for key in self.entries]
        return [
            {
                "dataset": row["dataset"],
                "classifier": row["classifier"],
                "family": self.family(row["classifier"], row["strategy"]),
                "tasks": int(row["tasks"]),
                "strategy": row["strategy"],
            }
            for row in rows
        ]

    def incremental_inputs(self) -> Inputs:
        """Per row of the table, the runs of all seeds."""
        return {
            f"runs{i}": [self.run.path(f"incremental/{'/'.join(key)}/{seed}.parquet") for seed in range(entry.seeds)]
            for i, (key, entry) in enumerate(self.entries.items())
        }
