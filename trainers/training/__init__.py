"""The training of a run: the loop, the step, saving and restoring."""
