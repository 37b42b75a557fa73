"""Data sets: readers, splits, preprocessing and the manifest."""
