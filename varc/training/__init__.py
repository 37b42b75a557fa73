"""Training of the VQ-VAE and the VAR on small data."""
