"""What passes is waited out, up to a bound; a stop ends the wait."""

import errno

import pytest

from trainers.errors import StopRequestedError
from trainers.run import backoff


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time that passes by sleeping only."""
    now = [0.0]
    monkeypatch.setattr("trainers.run.backoff.time.monotonic", lambda: now[0])
    monkeypatch.setattr("trainers.run.backoff.time.sleep", lambda s: now.__setitem__(0, now[0] + s))
    return now


class Away:
    """Something that is away until a moment."""

    def __init__(self, clock, until_s, number=errno.EIO):
        self.clock, self.until_s, self.number, self.times = clock, until_s, number, 0

    def __call__(self):
        self.times += 1
        if self.clock[0] < self.until_s:
            raise OSError(self.number, "away")
        return "here"


def test_waits_until_it_is_back(clock):
    """A failure of the moment is tried again, at growing intervals."""
    attempt = Away(clock, 30)
    assert backoff.retry(attempt, timeout_s=60) == "here"
    assert 30 <= clock[0] <= 30 + backoff.MAX_DELAY_S
    assert attempt.times < 15


def test_gives_up_at_the_bound(clock):
    """The last failure is raised, once the time is over."""
    with pytest.raises(OSError, match="away"):
        backoff.retry(Away(clock, 1000), timeout_s=20)
    assert clock[0] == pytest.approx(20)


def test_what_does_not_pass_is_raised_at_once(clock):
    """A second attempt would fail the same way."""
    attempt = Away(clock, 1000, errno.EPERM)
    with pytest.raises(OSError, match="away"):
        backoff.retry(attempt, timeout_s=20)
    assert (attempt.times, clock[0]) == (1, 0)


def test_a_stop_ends_the_wait(clock):
    """Within a second, though the next attempt is seconds away."""
    with pytest.raises(StopRequestedError, match="away"):
        backoff.retry(Away(clock, 1000), timeout_s=100, should_stop=lambda: clock[0] > 20)
    assert clock[0] < 20.5


def test_failures_are_reported(clock):
    """With the seconds since the first attempt."""
    seen = []
    backoff.retry(Away(clock, 1), timeout_s=9, on_failure=lambda error, s: seen.append(s))
    assert seen[0] == 0
    assert seen == sorted(seen)
