"""Accuracy, costs, and the tables made of them."""
