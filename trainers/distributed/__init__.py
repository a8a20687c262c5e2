"""The ranks of a run: who they are, how they find one another, and what they agree on."""
