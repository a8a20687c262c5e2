"""Smoothed loss and recent rate."""

import math

import pytest

from trainers.training.recent_figures import HALF_LIFE, RecentRate, SmoothedLoss


def smoothed(*losses, before=None):
    loss = SmoothedLoss(before)
    for each in losses:
        loss.add(each)
    return loss.value


def test_there_is_no_loss_before_the_first():
    """And a first one is itself."""
    assert smoothed() is None
    assert smoothed(3.0) == 3.0


def test_a_loss_counts_half_after_its_half_life():
    """Of a jump from 0 to 1 half is seen then, three quarters after two."""
    before = [0.0] * 5000

    assert smoothed(*before, *[1.0] * HALF_LIFE) == pytest.approx(0.5)
    assert smoothed(*before, *[1.0] * 2 * HALF_LIFE) == pytest.approx(0.75)


def test_the_first_losses_are_a_plain_mean():
    """A run does not seem to begin at zero."""
    assert smoothed(2.0, 4.0) == pytest.approx(3.0, abs=0.01)


def test_a_resumed_attempt_goes_on():
    """As if it had not been stopped."""
    assert smoothed(*[1.0] * HALF_LIFE, before=0.0) == pytest.approx(0.5)


def test_what_is_not_finite_is_left_out():
    """A step that was left out has no loss."""
    assert smoothed(1.0, math.nan, math.inf, 1.0) == 1.0
    assert smoothed(math.nan) is None


def rate(*reports):
    found = RecentRate()
    for now_s, iteration in reports:
        found.report(iteration, now_s)
    return found.value


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([], None),
        ([(0, 1)], None),
        ([(0, 1), (2, 1)], None),
        ([(0, 1), (2, 5)], 2.0),
        ([(0, 1), (10, 11), (70, 131), (80, 151)], 2.0),  # the first minute does not count
        ([(0, 1), (600, 2), (1800, 3)], 1 / 1200),  # slow iterations, each longer than the window
        ([(0, 1), (2, 2), (2, 2)], 0.5),  # the last iteration is reported twice
    ],
)
def test_the_rate_is_that_of_the_last_minute(reports, expected):
    """Or between two reports, if they are further apart."""
    assert rate(*reports) == expected
