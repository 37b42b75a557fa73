"""The files of `incremental`: classes learned task by task. Methods take wildcards by their names, or a Lesson."""

from typing import Any, NamedTuple

from workflow.config.entry import ConfigError
from workflow.config.lineage import finetuning, image_size, origin
from workflow.config.models import TrainedModel
from workflow.config.tables import Incremental
from workflow.run import Inputs, Run
from workflow.stages import spell_noises, spell_sigma

STRATEGIES = {
    "learn_tasks_var": r"var_\w+",
    "learn_tasks_convnet": "none|cwr|joint",
    "learn_tasks_baseline": r"family_\w+",
}
LEARNED_BY = ("depth", "width", "heads", "steps", "batch_size", "lr", "samples", "sigma")  # of a VAR's training


class Lesson(NamedTuple):
    """What is learned task by task, by the wildcards of its files; dataset: to test on."""

    classifier: str
    dataset: str
    tasks: str
    strategy: str


class Learning:
    """Raises ConfigError where two entries would learn the same."""

    def __init__(self, run: Run):
        self.run, self.config, self.checkpoints = run, run.config, run.checkpoints
        self.entries: dict[Lesson, Incremental] = {}
        for entry in self.config.incremental:
            for tasks, strategy in entry.runs():
                key = Lesson(entry.classifier, entry.test, str(tasks), strategy)
                if key in self.entries:
                    there = f"{strategy} of {entry.classifier} on {entry.test} in {tasks} tasks"
                    raise ConfigError(f"incremental: {there} is there twice; take one away")
                self.entries[key] = entry

    def start(self, classifier: str) -> str:
        """The model that a classifier's model comes from."""
        return origin(self.config.models, self.config.own[classifier].model)

    def train(self, key: Lesson) -> dict[str, Any]:
        """The training settings: those of the entry, else those of the model that the classifier's comes from."""
        if own := self.entries[key].train:
            return own.given()
        start = self.config.models[self.start(key.classifier)]
        assert isinstance(start, TrainedModel)
        return {key: value for key, value in start.train.var.given().items() if key in LEARNED_BY}

    def train_dataset(self, key: Lesson) -> dict[str, Any]:
        return self.run.dataset(self.entries[key].data)

    def inputs(self, key: Lesson) -> Inputs:
        """The images to learn and those to be tested on."""
        data = self.entries[key].data
        manifests = {"train_manifest": self.run.manifest(data), "test_manifest": self.run.manifest(key.dataset)}
        checked = [file for file in (self.run.checked(data), self.run.checked(key.dataset)) if file]
        return {**manifests, "checked": checked, "classes": self.run.class_list(data)}

    def var_inputs(self, key: Lesson) -> Inputs:
        """Also their tokens, the VQ-VAE, and the public weights that a VAR starts from, if any."""
        entry, train = self.config.own[key.classifier], self.train(key)
        train_noises = spell_noises(spell_sigma(train.get("sigma")), train["samples"])
        noises = spell_noises(spell_sigma(entry.sigma), entry.samples)
        return self.inputs(key) | {
            "vqvae": self.checkpoints.weights(entry.model, "vqvae"),
            "var": self.start_weights(key.classifier),
            "train_tokens": self.run.tokens(entry.model, self.entries[key].data, train_noises),
            "test_tokens": self.run.tokens(entry.model, key.dataset, noises),
        }

    def start_weights(self, classifier: str) -> str | list[str]:
        """The public weights that a VAR starts from; none where it is trained here, and starts from nothing."""
        start = self.start(classifier)
        return [] if isinstance(self.config.models[start], TrainedModel) else self.checkpoints.weights(start, "var")

    def cca(self, classifier: str) -> dict[str, Any]:
        return finetuning(self.config.models, self.config.own[classifier].model)

    def known(self, classifier: str, part: str) -> Any:
        name = self.config.own[classifier].model if part == "vqvae" else self.start(classifier)
        return self.checkpoints.checkpoint(name, part)

    def size(self, classifier: str) -> int | None:
        return image_size(self.config.models, self.config.own[classifier].model)

    # the table

    def family(self, classifier: str, strategy: str) -> str:
        """The family of what learns: a rival's, the VAR, or the convolutional network."""
        if classifier in self.config.rivals:
            return self.run.family_of(classifier)
        return "var" if strategy.startswith("var_") else "convnet"

    def rows(self) -> list[dict[str, Any]]:
        """What tables/incremental.csv compares: one row per data set, classifier, number of tasks and strategy."""
        return [
            {
                "dataset": key.dataset,
                "classifier": key.classifier,
                "family": self.family(key.classifier, key.strategy),
                "tasks": int(key.tasks),
                "strategy": key.strategy,
            }
            for key in self.entries
        ]

    def incremental_inputs(self) -> Inputs:
        """Per row of the table, the runs of all seeds."""
        return {
            f"runs{i}": [self.run.path(f"incremental/{'/'.join(key)}/{seed}.parquet") for seed in range(entry.seeds)]
            for i, (key, entry) in enumerate(self.entries.items())
        }
