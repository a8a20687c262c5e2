"""Weights of trained networks: load them, or start a run from them."""
