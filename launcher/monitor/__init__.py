"""What a user sees of runs: status, progress, logs, checkpoints, and where the time goes."""
