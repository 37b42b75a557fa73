"""What a classifier says of a picture."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ClassScore:
    """A class, as a candidate of one picture."""

    class_id: int
    name: str
    log_likelihood: float
    """In nats, as the run's files have it: over the scales and samples of the last stage that scored the class; of a
    rival its family's score."""
    probability: float | None
    """By a softmax over the classes that reached the end; None for one that fell before, and for one alone."""
    fell_at: int | None
    """The stage (from 1), of an adaptive funnel the scale, that dropped the class; None where it reached the end."""


@dataclass(frozen=True)
class Classification:
    """A picture's classes, the best one first."""

    image: str
    """The picture as messages name it."""
    image_id: str
    """What seeds its noise: the run's, the given one, or the default, "sha256:" and digits of its pixels."""
    classes: tuple[ClassScore, ...]
    margin: float | None
    """How far the prediction is ahead of the runner-up, in nats; None where no other class reached the end."""
    calibrated: bool
    """Whether the probabilities are those of a temperature that was fitted on calibration images."""

    @property
    def prediction(self) -> ClassScore:
        return self.classes[0]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        found = asdict(self)
        return {**found, "prediction": found["classes"][0], "classes": list(found["classes"])}
