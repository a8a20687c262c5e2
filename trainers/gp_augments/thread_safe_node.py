"""What makes a gunpowder node fit for a thread beside others."""

from __future__ import annotations

import gunpowder as gp


class ThreadSafeNode(gp.BatchProvider):  # type: ignore[misc]
    """A node that leaves the process's random generators alone, and draws from its own.

    Put it before the class of gunpowder that your node is of. What the node gives must depend on
    its input and the request's seed only, and what takes long should release the GIL: then it is
    run in threads of the trainer, each with a node of its own, and not in processes.
    """

    seed_of_request: int
    """The seed of the request that is being worked on."""

    def set_seeds(self, request: gp.BatchRequest) -> None:
        self.seed_of_request = request.random_seed
