"""The training of a run: the loop, the step, gradient accumulation, saving and restoring."""
