"""The name that `ThreadSafeNode` had up to November 2026, for augments of users."""

from trainers.gp_augments.thread_safe_node import ThreadSafeNode as PureNode

__all__ = ["PureNode"]
