"""The rival families, as far as a config must know them: read from their files, since importing them takes seconds."""

import ast
import functools
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "varc" / "baselines"
KEPT_BEFORE = r"all|[\w.-]+-keep\d+"
KINDS = {"int": int, "float": (int, float), "str": str, "bool": bool}


def families():
    """The names of all families: the files that define a Shape."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if "\nclass Shape:" in path.read_text(encoding="utf-8"))


def has_function(family, name):
    """Whether a family's file defines a function."""
    return f"\ndef {name}(" in (FOLDER / f"{family}.py").read_text(encoding="utf-8")


@functools.cache
def settings_keys(family, settings):
    """key -> (type as written, whether it is required), of a family's Shape, Training or Scoring."""
    tree = ast.parse((FOLDER / f"{family}.py").read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == settings)
    fields = [node for node in found.body if isinstance(node, ast.AnnAssign)]
    return {node.target.id: (ast.unparse(node.annotation), node.value is None) for node in fields}


def settings_mistake(family, settings, given):
    """What is wrong with the keys and types of an entry, in words; None where nothing is."""
    keys = settings_keys(family, settings)
    for extra in sorted(set(given) - set(keys)):
        return f"{extra} is no key of family {family}; known are {', '.join(sorted(keys)) or 'none'}"
    for missing in sorted(key for key, (_, required) in keys.items() if required and key not in given):
        return f"{missing} is missing; family {family} needs it"
    for key, value in given.items():
        if not fits(value, keys[key][0]):
            return f"{key} is {value!r}; expected {in_words(keys[key][0])}"
    return None


def fits(value, annotation):
    """Whether a config value can be a field of this type; whole numbers are from 1 on, others not below 0."""
    if annotation.startswith("tuple["):
        kind = annotation[6:].split(",")[0].rstrip("]")
        return isinstance(value, list) and value != [] and all(fits(item, kind) for item in value)
    if annotation.endswith("| None"):
        return value is None or fits(value, annotation.removesuffix("| None").strip())
    if annotation.startswith("Literal["):
        return value in ast.literal_eval(annotation.removeprefix("Literal"))
    kind = KINDS.get(annotation, object)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return False
    return not isinstance(value, (int, float)) or value >= (1 if kind is int else 0)


def in_words(annotation):
    """What a field of this type takes."""
    if annotation.startswith("Literal["):
        return "one of " + ", ".join(ast.literal_eval(annotation.removeprefix("Literal")))
    return f"{annotation}; whole numbers from 1 on, others not below 0"


def scoring(stage):
    """What a stage's scores depend on: all its keys but `keep`."""
    return {key: value for key, value in stage.items() if key != "keep"}


def spell_scoring(stage):
    """The folder of a stage's scores: its keys and values, e.g. "draws25", or "plain" where it has none."""
    return "-".join(f"{key}{value}" for key, value in sorted(scoring(stage).items())) or "plain"


def spell_kept_before(earlier):
    """The <candidates> of the stage after the stages `earlier`: "all", or e.g. "draws25-keep5"."""
    return ".".join(f"{spell_scoring(stage)}-keep{stage['keep']}" for stage in earlier) or "all"


def rival_scores(baseline, dataset, stages):
    """The folder of the scores of the last of these stages."""
    return f"scores/{baseline}/{dataset}/{spell_kept_before(stages[:-1])}/{spell_scoring(stages[-1])}"


def apart(config):
    """(the config without rivals, the rivals: classifier -> its entry, and their pairs of data set and classifier)."""
    rivals = {name: entry for name, entry in config["classifiers"].items() if "baseline" in entry}
    pairs = {(d, c) for entry in config["evaluate"] for d in entry["datasets"] for c in entry["classifiers"]}
    rest = {name: entry for name, entry in config["classifiers"].items() if name not in rivals}
    evaluate = [
        entry | {"classifiers": [name for name in entry["classifiers"] if name not in rivals]}
        for entry in config["evaluate"]
    ]
    return config | {"classifiers": rest, "evaluate": evaluate}, rivals, sorted(p for p in pairs if p[1] in rivals)
