"""Distributed training: rank and world size, the rendezvous, and the process group."""
