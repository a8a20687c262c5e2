"""Weights of trained networks: load them for inference, or fine-tune from them."""
