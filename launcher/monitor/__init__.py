"""What is seen of runs: status, progress, logs, checkpoints."""
