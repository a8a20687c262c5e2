"""A run as a folder: its layout, its state, and the lease on it. Light: no torch."""
