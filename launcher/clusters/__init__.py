"""Cluster configs, and the targets that they resolve to on a real cluster."""
