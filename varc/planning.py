"""What a run will cost: passes, GFLOPs, device time, memory and disk of its jobs, from shapes and counts alone.

Imports no torch: the pipeline reads its number of shards from here when it builds its graph. A Work is all that one
rule does for one data set and one kind of sample; classifiers that share files share it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from varc.costs.closed_form import (
    adaln_weights,
    encoder_gflops,
    image_size,
    pass_gflops,
    quantizer_gflops,
    var_parameters,
)
from varc.costs.memory import finetune_bytes, host_bytes
from varc.errors import InputError
from varc.models.scales import tokens_at
from varc.prefetch import BATCHES_AHEAD, LOADERS

JOB_SECONDS = 20 * 60.0  # of the longest job, where the number of shards is chosen: 10 to 30 minutes are wanted
MOST_IMAGES = 256  # that are encoded or tokenised at a time
FLOAT = 4  # bytes
PROCESS_BYTES = 450e6  # Python, torch and pyarrow, before any model or data
FEATURE_BYTES = 3.95  # on disk: a float32 of features
SCORE_BYTES = 6.8  # a float64 that is a sum of float32, as log-likelihoods are: 6 to 7.6, the more tokens the more
TOKEN_BYTES = 1.05 / 8  # per bit of a token
BATCH_NUMBERS, BATCH_TOKENS = 2**20, 2**12  # that a batch of score has at most on the CPU: tokens x width, and tokens
HEAD_ROWS = 1024  # positions whose logits exist at a time


class Work(NamedTuple):
    """All jobs of one rule that fill one folder of results: one per shard."""

    dataset: str
    classifier: str
    stage: str  # encoder, stage1, stage2, ...: as in tables/gflops.csv
    rule: str
    model: str
    folder: str  # what is written: equal for classifiers that share it
    scales: int = 0
    precision: str = "float32"
    candidates: int = 0  # per image; of `finetune` labels per image
    samples: int = 1  # of each candidate, of an adaptive stage the most; of `finetune` of the tokens
    steps: int = 0  # of `finetune`, with its batch_size and accumulate
    batch_size: int = 0
    accumulate: int = 1
    processes: int = 1  # that share a job
    most: int = 0  # images, of `validate`; 0: all
    reference: bool = False  # of `finetune`: whether it compares with its frozen start


class Kind(NamedTuple):
    """What a device's rate depends on."""

    rule: str
    model: str
    scales: int
    precision: str


class Cost(NamedTuple):
    """Of one image. gflops: in fvcore's convention, and for `tokenize` of the quantiser."""

    passes: int
    gflops: float
    parquet_bytes: float


class Counted(NamedTuple):
    """What a stage of a rival takes per image, counted on its module; stands where a model's shape would."""

    passes: int
    gflops: float


class Speed(NamedTuple):
    """A device's speed at a kind of work: its rate, and what the first call of a job takes beyond it."""

    gflops_per_second: float
    seconds_per_job: float = 0.0


Rate = Callable[[Kind], Speed]
# Rules whose rate is that of another.
RATED_AS = {
    "score_adaptive": "score",
    "score_certified": "score",
    "validate": "score",
    "score_baseline_adaptive": "score_baseline",
}
UNSHARDED = ("finetune", "validate")  # one job for all shards; `validate` is no rule, but a part of it


def kind(work: Work) -> Kind:
    """The kind of a work, whose rate is measured once."""
    scales = work.scales if work.candidates else 0
    return Kind(RATED_AS.get(work.rule, work.rule), work.model, scales, work.precision)


def of_rival(work: Work) -> bool:
    """Whether a rival's stage does it: its cost is counted on its module, as there is no closed form."""
    return RATED_AS.get(work.rule, work.rule) == "score_baseline"


def measured_with(work: Work) -> int:
    """What a rate is measured with: an image's candidates, or of `finetune` the sequences of a micro-batch."""
    return work.candidates * images_of_a_part(work) if work.rule == "finetune" else work.candidates


def images_of_a_part(work: Work) -> int:
    """Images of a micro-batch in each process."""
    return max(1, work.batch_size // (work.accumulate * work.processes))


def image_passes(labels: int, reference: bool) -> int:
    """Passes that an image of fine-tuning counts as: forward and backward three for each label, the reference one."""
    return labels * (4 if reference else 3)


def cost(work: Work, shape: Any) -> Cost:
    """What one image costs."""
    if isinstance(shape, Counted):
        return Cost(*shape, SCORE_BYTES * work.candidates)
    if work.rule == "encode":
        numbers = shape.z_channels * shape.patch_nums[-1] ** 2
        return Cost(0, encoder_gflops(shape), FEATURE_BYTES * numbers)
    if work.rule == "tokenize":
        bits = tokens_at(shape.patch_nums, len(shape.patch_nums)) * math.log2(shape.vocab_size)
        return Cost(0, quantizer_gflops(shape), TOKEN_BYTES * bits)
    passes = (
        image_passes(work.candidates, work.reference) if work.rule == "finetune" else work.candidates * work.samples
    )
    written = 0 if work.rule in UNSHARDED else SCORE_BYTES * work.candidates * (1 + work.scales)
    return Cost(passes, passes * pass_gflops(shape, work.scales), written)


def images_at_once(side: int) -> int:
    """How many images of side x side pixels `encode` and `tokenize` take at a time, for 3 GB at 256 pixels."""
    return max(1, min(MOST_IMAGES, 2**20 // side**2))


def memory_bytes(work: Work, shape: Any, images: int) -> float | None:
    """Peak memory of a job with so many images; a GPU's batches take more where it is there. None for a rival.

    Of `finetune` that of each process, on its device; its validation takes less.
    """
    if isinstance(shape, Counted) or work.rule == "validate":
        return None
    if work.rule == "finetune":
        return finetune_bytes(shape, measured_with(work), work.precision, work.reference)
    batch = min(images_at_once(image_size(shape)), images)
    if work.rule == "encode":
        pixels = image_size(shape) ** 2
        loaded = min(images, batch * (1 + BATCHES_AHEAD + LOADERS))  # a loader's batch is in parts, then in one piece
        held = 3 * pixels * loaded + 2 * features(shape) * images  # features of batches, then in one piece
        return PROCESS_BYTES + FLOAT * batch * pixels * 4 * shape.ch + held
    if work.rule == "tokenize":
        distances = FLOAT * batch * shape.patch_nums[-1] ** 2 * shape.vocab_size
        return PROCESS_BYTES + 2 * distances + (3 * images + batch) * features(shape)  # and the next batch's noise
    weights = FLOAT * (var_parameters(shape, 1000) + work.candidates * (adaln_weights(shape) / shape.width + 2))
    tokens = max(tokens_at(shape.patch_nums, work.scales), min(BATCH_TOKENS, BATCH_NUMBERS // shape.width))
    one_batch = FLOAT * 24 * tokens * shape.width
    return PROCESS_BYTES + weights + one_batch + 2 * FLOAT * HEAD_ROWS * shape.vocab_size


def node_bytes(work: Work, shape: Any, images: int, on_gpu: bool) -> float | None:
    """What a job takes of its node: on a GPU fine-tuning takes other memory there than memory_bytes has."""
    own = memory_bytes(work, shape, images)
    if work.rule != "finetune" or own is None:
        return own
    each = PROCESS_BYTES + (0 if on_gpu else own)
    return work.processes * each + host_bytes(shape, work.samples * images, work.processes)


def too_large(works: Iterable[Work], shapes: Mapping[str, Any], has: float) -> list[str]:
    """A line for each fine-tuning that takes more than the bytes that a GPU has."""
    found = []
    for work in works:
        if work.rule == "finetune" and (need := memory_bytes(work, shapes[work.model], 0) or 0) > has:
            found.append(
                f"models: {work.model}: accumulate {work.accumulate}, precision {work.precision}: fine-tuning takes "
                f"{need / 2**30:.1f} GiB, and the GPU has {has / 2**30:.1f}; raise accumulate, or take precision bf16"
            )
    return found


def features(shape: Any) -> int:
    """Bytes of one image's features in memory."""
    return FLOAT * shape.z_channels * shape.patch_nums[-1] ** 2


def seconds_per_image(work: Work, shape: Any, rate: Rate) -> float:
    """Device-seconds of a work on one image."""
    return cost(work, shape).gflops / rate(kind(work)).gflops_per_second


def images_taken(work: Work, images: Mapping[str, int]) -> int:
    """How many images a work takes, of `finetune` those of all steps."""
    if work.rule == "finetune":
        return work.steps * work.batch_size
    return min(images[work.dataset], work.most or images[work.dataset])


def parts(work: Work, shards: int) -> int:
    """How many parts a work is divided into, one a job."""
    return 1 if work.rule in UNSHARDED else shards


def job_images(work: Work, images: Mapping[str, int], shards: int) -> float:
    """How many images each job of a work takes."""
    return images_taken(work, images) / parts(work, shards)


def job_seconds(work: Work, shape: Any, images: float, rate: Rate) -> float:
    """Seconds of a job with so many images, which its processes share."""
    return images * seconds_per_image(work, shape, rate) / work.processes + rate(kind(work)).seconds_per_job


def longest_job(
    works: Iterable[Work], shapes: Mapping[str, Any], images: Mapping[str, int], shards: int, rate: Rate
) -> float:
    """Seconds of the longest job; a model's fine-tuning and its validations are one."""
    jobs: dict[Any, float] = {}
    for work in works:
        job = work.model if work.rule in UNSHARDED else work
        seconds = job_seconds(work, shapes[work.model], job_images(work, images, shards), rate)
        jobs[job] = jobs.get(job, 0.0) + seconds
    return max(jobs.values())


def number_of_shards(works: Iterable[Work], shapes: Mapping[str, Any], images: Mapping[str, int], rate: Rate) -> int:
    """The smallest number of shards whose longest job takes at most JOB_SECONDS; no more than the fewest images."""
    works = [work for work in works if work.rule not in UNSHARDED]
    longest = max(images[work.dataset] * seconds_per_image(work, shapes[work.model], rate) for work in works)
    return max(1, min(math.ceil(longest / JOB_SECONDS), min(images[work.dataset] for work in works)))


def plan_rows(
    works: Sequence[Work], shapes: Mapping[str, Any], images: Mapping[str, int], shards: int, rate: Rate
) -> list[dict[str, Any]]:
    """Rows of tables/plan.csv: per data set and classifier its stages and their total, then the whole run.

    A work that classifiers share is counted for each of them, and once for the run.
    """

    def row(some: Sequence[Work], dataset: str, classifier: str, stage: str) -> dict[str, Any]:
        return {"dataset": dataset, "classifier": classifier, "stage": stage} | summary(
            some, shapes, images, shards, rate
        )

    rows = []
    for dataset, classifier in dict.fromkeys((work.dataset, work.classifier) for work in works):
        own = [work for work in works if (work.dataset, work.classifier) == (dataset, classifier)]
        for stage in dict.fromkeys(work.stage for work in own):
            rows.append(row([work for work in own if work.stage == stage], dataset, classifier, stage))
        rows.append(row(own, dataset, classifier, "total"))
    return [*rows, row(list({work.folder: work for work in works}.values()), "all", "all", "total")]


def summary(
    works: Sequence[Work], shapes: Mapping[str, Any], images: Mapping[str, int], shards: int, rate: Rate
) -> dict[str, Any]:
    """The figures of some works together; minutes and memory of the largest job, and images of the
    slowest that would take JOB_SECONDS, where there are shards."""
    counts = [images_taken(work, images) for work in works]
    costs = [cost(work, shapes[work.model]) for work in works]
    sharded = [work for work in works if work.rule not in UNSHARDED]
    slowest = max((seconds_per_image(work, shapes[work.model], rate) for work in sharded), default=None)
    most = max((images[work.dataset] for work in sharded), default=0)
    per_job = [job_images(work, images, shards) for work in works]
    jobs = [job_seconds(work, shapes[work.model], n, rate) for work, n in zip(works, per_job, strict=True)]
    needs = [memory_bytes(work, shapes[work.model], math.ceil(n)) for work, n in zip(works, per_job, strict=True)]
    known = [need for need in needs if need is not None]
    hours = [parts(work, shards) * s * work.processes / 3600 for work, s in zip(works, jobs, strict=True)]
    return {
        "jobs": sum(parts(work, shards) for work in works if work.rule != "validate"),
        "images": sum(images[name] for name in {work.dataset for work in works}),
        "passes": sum(n * c.passes for n, c in zip(counts, costs, strict=True)),
        "gflops": sum(n * c.gflops for n, c in zip(counts, costs, strict=True)),
        "device_hours": sum(hours),
        "minutes_per_job": longest_job(works, shapes, images, shards, rate) / 60,
        "images_per_job": max(1, min(most, int(JOB_SECONDS / slowest))) if slowest else None,
        "memory_bytes": round(max(known)) if known else None,
        "parquet_bytes": round(sum(n * c.parquet_bytes for n, c in zip(counts, costs, strict=True))),
    }


def given(gflops_per_second: float) -> Rate:
    """The same rate for every kind of work."""
    return lambda kind: Speed(gflops_per_second)


def measured(record: Mapping[str, Any]) -> Rate:
    """The speeds of a rates.json. Raises InputError for a kind of work that it lacks."""
    known = {Kind(*entry["kind"]): Speed(*entry["speed"]) for entry in record["rates"]}

    def rate(kind: Kind) -> Speed:
        if kind not in known:
            raise InputError(f"rates.json has no rate of {' '.join(map(str, kind))}; delete it, and plan again")
        return known[kind]

    return rate
