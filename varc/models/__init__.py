"""The multi-scale residual VQ-VAE and the VAR transformer."""
