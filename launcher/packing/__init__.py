"""Packing: which run goes into which job, and where in it. Pure functions."""
