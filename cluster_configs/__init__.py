"""The cluster configs that come with the launcher, one YAML file each."""
