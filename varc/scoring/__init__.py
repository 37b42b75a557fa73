"""Tokens, log-likelihoods and the funnel."""
