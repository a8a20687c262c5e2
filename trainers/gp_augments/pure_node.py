"""Alias: the name of `ThreadSafeNode` until November 2026, kept for modules of users."""

from trainers.gp_augments.thread_safe_node import ThreadSafeNode as PureNode

__all__ = ["PureNode"]
