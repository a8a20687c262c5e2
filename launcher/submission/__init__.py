"""From an experiment to jobs."""
