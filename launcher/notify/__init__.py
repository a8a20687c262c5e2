"""Tell people what becomes of an experiment, without ever holding up a run."""
