"""Samples in order, and what is said about how they come."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any, cast

import pytest

from trainers.errors import StopRequestedError
from trainers.stream.sample import Sample
from trainers.stream.sample_queue import SampleQueue


class _Maker:
    """Makes (iteration, index) of a sample, once it may."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.made = threading.Semaphore(0)

    def sample(self, iteration: int, index: int) -> Sample:
        self.may_go_on.wait()
        self.made.release()
        return cast(Sample, (iteration, index))


def queue_of(*makers: Any, num_per_batch: int = 2) -> SampleQueue:
    contexts = [nullcontext(maker) for maker in makers]
    return SampleQueue(contexts, start_iteration=7, indices=range(num_per_batch))


def test_it_tells_which_samples_had_to_be_waited_for() -> None:
    """The first is asked for before it can be made; those made ahead are there when asked for."""
    maker = _Maker()
    with queue_of(maker) as queue:
        threading.Timer(0.05, maker.may_go_on.set).start()
        first: Any = queue.sample(7, 0)
        missed = queue.pop_stats()
        for _ in range(4):  # all that may be made ahead, and the one that was taken
            maker.made.acquire()
        while queue.num_ready < 3:
            pass
        second: Any = queue.sample(7, 1)
        hit = queue.pop_stats()

    assert [first, second] == [(7, 0), (7, 1)]
    assert (missed.num_asked, missed.prefetch_hit_rate, missed.mean_depth) == (1, 0.0, 0.0)
    assert missed.wait_s > 0
    assert (hit.num_asked, hit.prefetch_hit_rate) == (1, 1.0)
    assert hit.mean_depth >= 3


def test_it_goes_no_further_ahead_than_a_batch_and_two_for_each_maker() -> None:
    """However long nobody asks."""
    makers = [_Maker(), _Maker()]
    for each in makers:
        each.may_go_on.set()
    with queue_of(*makers) as queue:
        while queue.num_ready < 2 + 2 * 2:
            pass
        num_made = 0
        for each in makers:
            while each.made.acquire(timeout=0.05):
                num_made += 1

    assert num_made == 6


def test_order_is_kept_whoever_is_slow() -> None:
    """One maker stands still with a sample in its hands; what comes later waits for that."""
    slow, quick = _Maker(), _Maker()
    quick.may_go_on.set()
    with queue_of(slow, quick) as queue:
        for _ in range(3):
            quick.made.acquire()
        slow.may_go_on.set()
        got = [queue.sample(iteration, index) for iteration in (7, 8, 9) for index in (0, 1)]

    assert cast(Any, got) == [(i, index) for i in (7, 8, 9) for index in (0, 1)]


def test_an_error_is_raised_for_its_own_sample() -> None:
    """Those before and after it are delivered."""

    class Failing(_Maker):
        def sample(self, iteration: int, index: int) -> Sample:
            if (iteration, index) == (7, 1):
                raise ValueError("this one")
            return super().sample(iteration, index)

    maker = Failing()
    maker.may_go_on.set()
    with queue_of(maker) as queue:
        assert cast(Any, queue.sample(7, 0)) == (7, 0)
        with pytest.raises(ValueError, match="this one"):
            queue.sample(7, 1)
        assert cast(Any, queue.sample(8, 0)) == (8, 0)


def test_a_stop_ends_the_wait_for_a_sample() -> None:
    """It is asked for while a maker is busy, and only then."""
    maker = _Maker()
    stop = threading.Event()
    queue = SampleQueue(
        [nullcontext(maker)], start_iteration=7, indices=range(2), should_stop=stop.is_set
    )
    with queue:
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(StopRequestedError, match="waiting for a sample"):
            queue.sample(7, 0)
        maker.may_go_on.set()
        while queue.num_ready < 1:
            pass
        assert cast(Any, queue.sample(7, 0)) == (7, 0)
