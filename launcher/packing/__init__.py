"""Which run goes into which job: pure functions."""
