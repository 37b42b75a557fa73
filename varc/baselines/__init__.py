"""Rival classifiers, one small file per family."""
