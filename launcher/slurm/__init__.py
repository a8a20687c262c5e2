"""Slurm's programs, and what they say."""
