"""The history of the nodes that failed runs of an experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import frozen

from launcher.job.bad_nodes import NodeFailure, bad_nodes


@frozen(kw_only=True)
class NodeHistory:
    """What `launch nodes` shows of a node."""

    node: str
    failures: str
    """How often it has failed, by kind: `GPU fault 2, hang 1`."""
    last: float
    """Unix time in seconds of the last one, like `first`."""
    first: float
    is_avoided: bool
    reason: str
    """What is known of the last one."""


def node_histories(failures: Sequence[NodeFailure]) -> list[NodeHistory]:
    """Return the nodes that have failed runs of an experiment, by name."""
    bad = bad_nodes(failures)
    found = []
    for node in sorted({failure.node for failure in failures}):
        its = sorted((each for each in failures if each.node == node), key=lambda each: each.time)
        numbers = Counter(each.kind for each in its)
        found.append(
            NodeHistory(
                node=node,
                failures=", ".join(f"{kind} {number}" for kind, number in numbers.items()),
                first=its[0].time,
                last=its[-1].time,
                is_avoided=node in bad,
                reason=": ".join(filter(None, (its[-1].run, its[-1].reason))),
            )
        )
    return found
