"""The base of gunpowder nodes that several threads may run side by side."""

from __future__ import annotations

import gunpowder as gp


class ThreadSafeNode(gp.BatchProvider):  # type: ignore[misc]
    """A node that draws from generators of its own, never from the process's global ones.

    List it before gunpowder's base class: `class MyNode(ThreadSafeNode, gp.BatchFilter)`. What the
    node returns must depend only on its input and the request's seed, and whatever takes long
    should release the GIL. Each thread has a pipeline, and so a node, of its own: nodes of
    gunpowder keep the state of a request on themselves.
    """

    seed_of_request: int
    """Seed of the current request; draw from `np.random.default_rng(seed)`."""

    def set_seeds(self, request: gp.BatchRequest) -> None:
        # `request_batch` of gunpowder calls this before `provide`. Its own version seeds `random`
        # and `numpy.random`, which other threads, and the training, draw from.
        self.seed_of_request = request.random_seed
