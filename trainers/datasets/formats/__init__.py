"""Readers of metadata, one module for each format of volumes."""
