"""Run configs, read strictly from YAML. Light: no torch."""
