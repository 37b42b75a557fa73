"""The config as types: every key, its meaning, default and bounds, and what must fit together, in one place."""
