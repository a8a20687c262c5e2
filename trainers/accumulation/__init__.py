"""From the micro-batches of a batch to its gradients."""
