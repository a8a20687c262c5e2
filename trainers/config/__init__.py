"""What a run is told: its config, read strictly from YAML. Light: no torch."""
