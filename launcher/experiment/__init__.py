"""Experiment files, the runs that they describe, and experiment folders on disk."""
