"""What a config says of each rival family: its Shape, Training and Scoring. Imports no torch."""
