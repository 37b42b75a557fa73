"""Explanations: where the model looked, why A and not B, and whether the map is true."""
