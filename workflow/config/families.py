"""The rival families, as far as a config must know them: varc/baselines/settings, which imports no torch."""

import dataclasses
import functools
import importlib
import pkgutil
import types
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import Field, create_model

import varc.baselines.settings as settings_package
from workflow.config.entry import ConfigError, Entry, did_you_mean, parse


@functools.cache
def families() -> list[str]:
    """The names of all families."""
    return sorted(module.name for module in pkgutil.iter_modules(settings_package.__path__))


def settings_of(family: str) -> types.ModuleType:
    """The module with a family's Shape, Training and Scoring."""
    return importlib.import_module(f"{settings_package.__name__}.{family}")


def known_family(family: str) -> None:
    """Raises ValueError for a family that is not there."""
    if family not in families():
        defined, near = ", ".join(families()), did_you_mean(family, families())
        raise ValueError(f"family: {family!r} is not defined; defined are {defined}{near}")


def has(family: str, ability: str) -> bool:
    """Whether a family says that it has an ability: PUBLIC_WEIGHTS, or CAM_LAYER."""
    return getattr(settings_of(family), ability, False)


def has_samples(family: str) -> bool:
    """Whether a family's stages have samples that are scored one by one."""
    return hasattr(settings_of(family), "Sample")


def has_adaptive(family: str) -> bool:
    """Whether a family's stages may be adaptive."""
    return hasattr(settings_of(family), "Adaptive")


def full_scoring(family: str, given: dict[str, Any]) -> Any:
    """The Scoring of all that an adaptive stage of checked keys may score."""
    settings = settings_of(family)
    return settings.full(made(settings.Adaptive, given))


def shape_of(family: str, given: dict[str, Any]) -> Any:
    """A family's Shape, of checked keys."""
    return made(settings_of(family).Shape, given)


def scoring_of(family: str, given: dict[str, Any]) -> Any:
    """A family's Scoring, of checked keys."""
    return made(settings_of(family).Scoring, given)


def made(kind: Any, given: dict[str, Any]) -> Any:
    """A dataclass of a family's settings; lists become tuples."""
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})


@functools.cache
def entry_of(family: str, settings: str) -> type[Entry]:
    """A family's Shape, Training, Scoring or Adaptive as an entry of the config."""
    kind = getattr(settings_of(family), settings)
    hints = get_type_hints(kind)
    fields = {
        field.name: (bounded(hints[field.name]), ... if field.default is dataclasses.MISSING else field.default)
        for field in dataclasses.fields(kind)
    }
    made = create_model(f"{family}_{settings}", __base__=Entry, **fields)  # type: ignore[call-overload]
    made.called = f"family {family}"
    return made


def bounded(hint: Any) -> Any:
    """A type with the bounds of a config: whole numbers from 1 on, others not below 0, lists of at least one."""
    if get_origin(hint) is tuple:
        return Annotated[list[bounded(get_args(hint)[0])], Field(min_length=1)]  # type: ignore[misc]
    if get_origin(hint) is Literal:
        return hint
    if types.NoneType in get_args(hint):
        return bounded(next(part for part in get_args(hint) if part is not types.NoneType)) | None
    return {int: Annotated[int, Field(ge=1)], float: Annotated[float, Field(ge=0)]}.get(hint, hint)


def check_own(key: str, family: str, check: str, *given: Any) -> None:
    """What a family itself checks, if it does: check_shape(shape), or check_stages(shape, stages). Raises
    ConfigError."""
    try:
        getattr(settings_of(family), check, lambda *given: None)(*given)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def check_settings(key: str, family: str, settings: str, given: dict[str, Any]) -> None:
    """Raises ConfigError for keys and values that a family's Shape, Training, Scoring or Adaptive does not
    take."""
    try:
        parse(entry_of(family, settings), given)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
