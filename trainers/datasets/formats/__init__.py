"""The formats of volumes: how each says what an array is."""
