"""varc: visual autoregressive models as image classifiers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from varc.classify.load import load

__all__ = ["__version__", "load"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """`varc.load`, which takes torch, once it is asked for: `import varc` costs nothing."""
    if name == "load":
        return import_module("varc.classify.load").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
