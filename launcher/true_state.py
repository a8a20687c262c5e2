"""Which state a run is in, whatever its last writer believed."""

from __future__ import annotations

ENDED = ("finished", "failed", "cancelled")
"""Nothing happens to such a run any more until it is submitted again."""

_DIED = "its processes ended without a word; submit again to carry on"
_NEVER_BEGAN = "its job ended before it began; submit again"


def true_state(
    recorded: str, *, trained: bool, supervised: bool, cancel_requested: bool
) -> tuple[str, str]:
    """The state, and a reason if it is not the recorded one and needs explaining.

    Args:
        recorded: The status in `state.json`.
        trained: A process holds the run's lock.
        supervised: The supervisor of the run's pack lives.
        cancel_requested: Somebody has asked for the run to end.
    """
    if recorded in ENDED:
        return recorded, ""
    if trained or (supervised and recorded == "running"):
        return "running", ""
    if cancel_requested:
        return "cancelled", ""
    if recorded == "running":
        return "waiting", _DIED
    if recorded == "submitted" and not supervised:
        return "waiting", _NEVER_BEGAN
    return recorded, ""
