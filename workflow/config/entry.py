"""What all entries of a config share: strict types, and messages that name the key, what was found, and what to do."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WrapValidator,
    model_validator,
)

from varc.errors import InputError, brief


class ConfigError(InputError):
    """A config that contradicts itself, or its types."""


class Entry(BaseModel):
    """A table of the config. Unknown keys and values of another type are refused, never converted."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    called: ClassVar[str] = "this table"  # in messages

    @classmethod
    def keys(cls) -> list[str]:
        """The keys as they are written in a config."""
        return sorted(field.alias or name for name, field in cls.model_fields.items())

    @model_validator(mode="before")
    @classmethod
    def check_keys(cls, given: Any) -> Any:
        keys = cls.keys()
        if not isinstance(given, Mapping):
            raise ValueError(f"{brief(given)} is no table; {cls.called} has the keys {', '.join(keys)}")
        for key in () if cls.model_config["extra"] == "allow" else given:
            if key not in keys:
                known = ", ".join(keys) or "none"
                raise ValueError(f"{key} is no key of {cls.called}; known are {known}{did_you_mean(key, keys)}")
        for name, field in cls.model_fields.items():
            if field.is_required() and (field.alias or name) not in given:
                raise ValueError(f"{field.alias or name} is missing; {cls.called} needs it")
        return given

    def given(self) -> dict[str, Any]:
        """The entry as it stands in a config, defaults included, for the parameters of rules."""
        return self.model_dump(exclude_none=True, by_alias=True)


class OpenEntry(Entry):
    """A table whose other keys are a rival family's (workflow.config.families checks them)."""

    model_config = ConfigDict(extra="allow")


def given_keys(given: Any) -> list[str]:
    """The keys of a table, as it stands in a file or as an entry: what tells which of several kinds it is."""
    if isinstance(given, BaseModel):
        return list(type(given).model_fields)
    return list(given) if isinstance(given, Mapping) else []


def did_you_mean(name: Any, names: Iterable[str]) -> str:
    """The name that was most likely meant, as the end of a message; empty where none is near."""
    near = difflib.get_close_matches(str(name), list(names), 1)
    return f"; did you mean {near[0]}?" if near else ""


def either(words: str) -> WrapValidator:
    """For a value of several types: what it may be, in words, in place of one message per type."""

    def check(value: Any, inner: Callable[[Any], Any]) -> Any:
        try:
            return inner(value)
        except ValidationError:
            raise ValueError(f"{brief(value)} is not {words}") from None

    return WrapValidator(check)


def each_once(values: list[Any]) -> list[Any]:
    """The values of a list. Raises ValueError where it has one twice."""
    if len(set(values)) < len(values):
        raise ValueError(f"{values} has one twice; take it away")
    return values


def no_braces(path: str) -> str:
    """A path that a rule may read: Snakemake would take braces for a wildcard, and knows no way to write them."""
    if "{" in path or "}" in path:
        raise ValueError(f"{path!r} has braces, which Snakemake takes for a pattern; rename it, or give a link to it")
    return path


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Path = Annotated[Text, AfterValidator(no_braces)]  # of a file that rules read
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
T = TypeVar("T")
Some = Annotated[list[T], Field(min_length=1)]
K = TypeVar("K", bound=BaseModel)


class Spread(Entry):
    """A multiple of the standard deviation of the features of the training images."""

    called = "sigma"
    spread: Rate


Sigma = Annotated[float | Spread, either("a number above 0, nor {spread: a number above 0}")]


def plain_sigma(sigma: Any) -> Any:
    """A sigma as scripts take it: a number, or {"spread": number}."""
    return sigma.given() if isinstance(sigma, Spread) else sigma


def parse(kind: type[K], given: Any) -> K:
    """An entry from what a config file holds. Raises ConfigError for the first mistake in it."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise ConfigError(message(given, error.errors()[0])) from None


def message(given: Any, error: Any) -> str:
    """A mistake that pydantic found, in our words."""
    where, value = located(given, error["loc"])
    if error["type"] == "value_error":
        return where + str(error["ctx"]["error"])
    context = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch":
        return f"{where}{brief(value)} does not match {context['pattern']}"
    if error["type"] == "too_short":
        return f"{where}{brief(value)} is empty; give at least {context['min_length']}"
    if error["type"] == "union_tag_not_found":
        return f"{where}{context['discriminator'].strip(chr(39))} is missing; it tells what the entry is"
    if error["type"] == "union_tag_invalid":
        key, tags = (context[name].replace("'", "") for name in ("discriminator", "expected_tags"))
        near = did_you_mean(context["tag"], tags.split(", "))
        return f"{where}{key}: {brief(context['tag'])} is not known; known are {tags}{near}"
    text = re.sub(r"^Input should", "should", error["msg"]).replace("valid dictionary", "table")
    near = did_you_mean(value, re.findall(r"'([^']*)'", text)) if error["type"] == "literal_error" else ""
    return f"{where}{brief(value)} {text}{near}"


def located(given: Any, location: Iterable[Any]) -> tuple[str, Any]:
    """Where a mistake is, e.g. "classifiers: varc: ", and what stands there, without what pydantic adds to a path."""
    where, above, value, name = "", "", given, None
    for part in location:
        if part == "[key]":  # a name that a user chose, and not what stands under it
            return above, name
        inside = isinstance(value, Mapping) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            above, name = where, part
            where, value = f"{where}{part}: ", value[part]
    return where, value


def known(key: str, names: Iterable[str], table: Mapping[str, Any]) -> None:
    """Every name must be an entry of the table. Raises ConfigError for the first that is not."""
    for name in names:
        if name not in table:
            defined = ", ".join(sorted(table)) or "none"
            raise ConfigError(f"{key}: {name!r} is not defined; defined are {defined}{did_you_mean(name, table)}")
