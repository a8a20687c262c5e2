"""Where runs can go: cluster configs, and what they come to on a real cluster."""
