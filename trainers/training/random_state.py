"""Random states: the global generators that a model or a user's code may draw from.

On each rank an iteration starts from states that depend on the run's seed, the iteration and the
rank alone, so that nothing that happened before it (another library's draw, a resume) can change
what it draws. Where the number of ranks must not matter, each micro-batch has states of its own
instead.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import torch
from attrs import frozen


@frozen
class RandomState:
    """States of the global generators of torch (CPU and every CUDA device), NumPy and Python."""

    torch_cpu: torch.Tensor
    torch_cuda: list[torch.Tensor]
    numpy: torch.Tensor
    """The 624 words of the Mersenne twister, then its position."""
    python: torch.Tensor
    """The same for the module `random`."""

    @classmethod
    def of_iteration(cls, seed: int, iteration: int, rank: int = 0) -> RandomState:
        """Return the states of a rank at the start of an iteration."""
        # Without the rank for rank 0, so that one rank alone draws what rank 0 of several draws.
        return cls._of_digest(_digest(seed, iteration, *([rank] if rank else [])))

    @classmethod
    def current(cls) -> RandomState:
        """Return the states that the generators have now, at the start of an iteration.

        The second halves of pairs of normal draws, which generators keep, are not among them.
        """
        twister = np.random.get_state(legacy=False)["state"]
        return cls(
            torch_cpu=torch.get_rng_state(),
            torch_cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            numpy=torch.tensor([*twister["key"].tolist(), twister["pos"]]),
            python=torch.tensor(random.getstate()[1]),
        )

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> RandomState:
        """Return the states of a `state_dict`, copied."""
        # Tensors of a checkpoint are views into a file's memory: torch crashes on unaligned states.
        return cls(
            torch_cpu=state["torch_cpu"].clone(),
            torch_cuda=[each.clone() for each in state["torch_cuda"]],
            numpy=state["numpy"].clone(),
            python=state["python"].clone(),
        )

    @classmethod
    def of_micro_batch(cls, seed: int, iteration: int, index: int) -> RandomState:
        """Return the states before a micro-batch; the same on any rank."""
        # The word is part of the seed: another one would change the draws of every run.
        return cls._of_digest(_digest(seed, iteration, "leaf", index))

    @classmethod
    def _of_digest(cls, digest: bytes) -> RandomState:
        entropy = int.from_bytes(digest, "little")
        words = np.frombuffer(digest, np.uint32)
        twister = np.random.RandomState(words).get_state(legacy=False)["state"]
        return cls(
            torch_cpu=torch.Generator().manual_seed(entropy).get_state(),
            torch_cuda=[
                torch.Generator(f"cuda:{index}").manual_seed(entropy).get_state()
                for index in range(torch.cuda.device_count())
            ],
            numpy=torch.tensor([*twister["key"].tolist(), twister["pos"]]),
            python=torch.tensor(random.Random(entropy).getstate()[1]),
        )

    def apply(self) -> None:
        """Set the global generators."""
        torch.set_rng_state(self.torch_cpu)
        for index, state in enumerate(self.torch_cuda[: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, index)
        *keys, position = self.numpy.tolist()
        np.random.set_state(("MT19937", np.array(keys, np.uint32), position, 0, 0.0))
        random.setstate((3, tuple(self.python.tolist()), None))

    def state_dict(self) -> dict[str, Any]:
        return {
            "torch_cpu": self.torch_cpu,
            "torch_cuda": self.torch_cuda,
            "numpy": self.numpy,
            "python": self.python,
        }


def generator_of_sample(seed: int, iteration: int, index: int) -> torch.Generator:
    """Return the generator of one sample; the same on any rank and in any worker."""
    entropy = int.from_bytes(_digest(seed, iteration, "sample", index), "little")
    return torch.Generator().manual_seed(entropy)


def _digest(*parts: object) -> bytes:
    return hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
