"""Which checkpoints may go."""

from __future__ import annotations

from collections.abc import Iterable


def iterations_to_delete(
    saved: Iterable[int], *, validated: Iterable[int], keep_last: int
) -> list[int]:
    """Iterations whose checkpoints may go, oldest first.

    What is older than the `keep_last` newest validated ones goes; without as many, nothing does.

    Args:
        validated: Those known to be whole, because this process has written or read them.
    """
    if keep_last < 1:
        raise ValueError(f"keep_last must be at least 1; found {keep_last}")
    kept = sorted(set(saved) & set(validated))[-keep_last:]
    if len(kept) < keep_last:
        return []
    return sorted(iteration for iteration in saved if iteration < kept[0])
