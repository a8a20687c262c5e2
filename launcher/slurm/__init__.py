"""Slurm: the client of its commands, parsing of their output, and submission through submitit."""
