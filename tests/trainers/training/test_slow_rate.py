"""When a run counts as slow by its own measure; seconds are handed in."""

from collections import Counter

from trainers.training.slow_rate import RateMonitor


class Run:
    """A run whose iterations take what it is told."""

    def __init__(self, monitor, **spent_s):
        self.monitor = monitor
        self.iteration = 0
        self.spent_s: Counter = Counter(spent_s)
        monitor.observe(0, self.spent_s)

    def train(self, minutes, **parts_s):
        until = self.spent_s.total() + 60 * minutes
        while self.spent_s.total() < until:
            self.iteration += 1
            self.spent_s.update(parts_s)
            self.monitor.observe(self.iteration, self.spent_s)


def test_a_run_below_six_tenths_of_its_best_rate_for_five_minutes_is_slow():
    """The part that grew most is named."""
    run = Run(RateMonitor())
    run.train(5, step=0.5, data=0.1)

    run.train(4, step=0.6, data=0.7)
    assert run.monitor.slow == ""
    run.train(2, step=0.6, data=0.7)

    assert run.monitor.slow == (
        "slow: 1.3 s an iteration, 0.6 s at its best; data grew most, from 0.1 to 0.7 s"
    )


def test_a_run_above_is_not():
    """However long."""
    run = Run(RateMonitor())
    run.train(5, step=0.6)

    run.train(30, step=0.9)

    assert run.monitor.slow == ""


def test_one_quick_minute_starts_the_five_anew():
    """A save, or a neighbor that comes and goes, is no slow run."""
    run = Run(RateMonitor())
    run.train(5, step=0.5)

    for _ in range(4):
        run.train(4, step=1.0)
        run.train(2, step=0.5)
        assert run.monitor.slow == ""


def test_a_slow_run_recovers():
    """With the first quick minute."""
    run = Run(RateMonitor())
    run.train(5, step=0.5)
    run.train(7, step=1.0)
    assert run.monitor.slow

    run.train(2, step=0.5)

    assert run.monitor.slow == ""


def test_the_best_rate_is_that_of_all_attempts():
    """An attempt on a bad node is slow from its first minutes on."""
    first = Run(RateMonitor())
    first.train(5, step=0.5)

    second = Run(RateMonitor(first.monitor.fastest_iteration_s))
    second.train(7, step=0.5, save=0.6)

    assert second.monitor.slow.endswith("save grew most, from 0 to 0.6 s")


def test_one_lucky_minute_is_no_best_rate():
    """Three in a row are."""
    run = Run(RateMonitor())
    run.train(5, step=1.0)
    run.train(1, step=0.2)
    run.train(10, step=1.0)

    assert run.monitor.slow == ""


def test_iterations_longer_than_a_minute_count_one_by_one():
    """Each is a window of its own."""
    run = Run(RateMonitor())
    run.train(20, step=100.0)
    run.train(10, step=200.0)

    assert run.monitor.slow.startswith("slow: 200 s an iteration, 100 s at its best")


def test_the_first_iteration_does_not_count():
    """It compiles, and waits for the first samples."""
    run = Run(RateMonitor(), start=300.0, step=300.0)

    run.train(4, step=0.5)

    assert run.monitor.fastest_iteration_s == {"step": 0.5}
