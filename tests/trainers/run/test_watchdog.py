"""What the watchdog makes of its clock, and what it says."""

import sys
import threading

import pytest

from trainers.run.sections import Section, Sections, Silence
from trainers.run.watchdog import Watchdog, describe


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def watched(slowest_s):
    """A watchdog, its clock, its sections, and what it found to hang."""
    sections, clock = Sections(), Clock()
    found: list[Silence] = []
    sections.learn(slowest_s)
    watchdog = Watchdog(sections, on_hang=found.append, clock=clock)
    watchdog.look()
    return watchdog, clock, sections, found


def look_each_second(watchdog, clock, seconds):
    for _ in range(seconds):
        clock.now += 1.0
        watchdog.look()


def test_a_hang_is_noticed_within_its_bound():
    """After sixty looks, a second apart."""
    watchdog, clock, sections, found = watched({"step": 1.0})
    sections.enter(Section.STEP)

    look_each_second(watchdog, clock, 59)
    assert found == []
    look_each_second(watchdog, clock, 1)

    assert [each.kind for each in found] == [Section.STEP]


def test_time_in_which_the_watchdog_did_not_run_does_not_count():
    """Suspended for eleven minutes, or starved: the other threads did not run either."""
    watchdog, clock, sections, found = watched({"step": 1.0})
    sections.enter(Section.STEP)
    look_each_second(watchdog, clock, 50)

    clock.now += 660.0
    watchdog.look()

    assert found == []


def test_imports_are_progress_of_the_start(monkeypatch):
    """From a slow file system they come one by one."""
    watchdog, clock, sections, found = watched({"start": 1.0})
    sections.enter(Section.START)
    for number in range(5):
        monkeypatch.setitem(sys.modules, f"imported_{number}", sys)
        look_each_second(watchdog, clock, 59)

    assert found == []
    look_each_second(watchdog, clock, 2)
    assert found


def test_w_and_b_may_hang():
    """It is noted, for the status."""
    watchdog, clock, sections, found = watched({"wandb": 1.0})
    with sections.section(Section.WANDB):
        look_each_second(watchdog, clock, 100)
        assert (found, sections.silent) == ([], {Section.WANDB})
    look_each_second(watchdog, clock, 1)

    assert sections.silent == set()


def test_a_hang_is_told_in_one_line():
    """The section, the bound and how it came about, and where the thread is."""
    silence = Silence(
        kind=Section.DATA, thread=threading.get_ident(), silent_s=61, slowest_s=0.4, bound_s=60.0
    )

    line = describe(silence, sys._getframe())

    assert line.startswith(
        "hang: no progress in section data for 61 s (slowest 0 s, bound 60 s), "
        "in test_a_hang_is_told_in_one_line (test_watchdog.py:"
    )
    assert line.endswith("stacks above; the run resumes from its last checkpoint")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("now_in", "slowest_s", "seconds"),
    [
        (Section.STEP, {"step": 1.0, "data": 1.0}, 46),
        (Section.STEP, {"step": 1.0, "data": 100.0}, 486),
        (Section.SAVE, {"step": 1.0}, 46),
        (Section.STEP, {"data": 1.0}, 1786),
        (Section.START, {"step": 1.0, "start": 1.0}, 1800),
    ],
)
def test_the_alarm_has_the_widest_bound_of_an_iteration(now_in, slowest_s, seconds):
    """Less the 14 s between its two signals; imports keep the GIL for as long as the disk takes."""
    watchdog, _, sections, _ = watched(slowest_s)
    sections.enter(now_in)

    assert watchdog.until_alarm_s() == seconds
