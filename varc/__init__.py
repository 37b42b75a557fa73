"""varc: visual autoregressive models as image classifiers."""

__version__ = "0.1.0"
