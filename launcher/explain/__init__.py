"""Explain why a run waits, has ended or has failed, and what to do."""
