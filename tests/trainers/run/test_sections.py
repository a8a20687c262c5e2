"""Sections, their bounds, and what counts as progress: ticks stand in for time."""

import threading

import pytest

from trainers.run.sections import Section, Sections, bound_s


@pytest.fixture
def sections():
    return Sections()


@pytest.mark.parametrize(
    ("slowest_s", "bound"), [(None, 1800.0), (0.0, 60.0), (12.0, 60.0), (13.0, 65.0)]
)
def test_a_bound_is_five_times_the_slowest_section_and_at_least_a_minute(slowest_s, bound):
    """Before the first one it is half an hour: that one compiles, or reads what is in no cache."""
    assert bound_s(slowest_s) == bound


def test_a_section_hangs_at_its_bound(sections):
    """And not a second before."""
    sections.learn({"step": 2.0})
    sections.enter(Section.STEP)

    assert sections.tick(59.0) == []
    (silence,) = sections.tick(1.0)

    assert (silence.kind, silence.silent_s, silence.slowest_s) == (Section.STEP, 60.0, 2.0)
    assert silence.thread == threading.get_ident()


def test_a_slow_section_raises_the_bound_of_the_next_ones(sections):
    """By its own time, not by that of the section around it."""
    sections.enter(Section.STEP)
    with sections.section(Section.DATA):
        sections.tick(100.0)
    sections.tick(3.0)
    sections.enter(Section.STEP)

    assert sections.slowest_s == {"data": 100.0, "step": 3.0}


def test_a_section_that_is_open_does_not_raise_its_own_bound(sections):
    """Or nothing would ever hang."""
    sections.learn({"save": 1.0})
    with sections.section(Section.SAVE):
        sections.tick(40.0)
        assert sections.tick(20.0)


def test_progress_starts_the_bound_anew(sections):
    """Also that of another thread that is in a section of the same kind."""
    sections.learn({"save": 1.0})
    with sections.section(Section.SAVE):
        sections.tick(59.0)
        thread = threading.Thread(target=sections.beat, args=(Section.SAVE,))
        thread.start()
        thread.join()
        assert sections.tick(59.0) == []
        sections.beat()
        assert sections.tick(59.0) == []


def test_progress_of_another_kind_does_not_count(sections):
    """A disk that is waited for must not hide a step that hangs; nor a thread in no section."""
    sections.learn({"step": 1.0})
    sections.enter(Section.STEP)
    sections.tick(59.0)
    sections.beat(Section.SAVE)
    thread = threading.Thread(target=sections.beat)
    thread.start()
    thread.join()

    assert sections.tick(1.0)


def test_the_section_around_one_that_ends_has_made_progress(sections):
    """It did not count meanwhile, and does from then on."""
    sections.learn({"step": 1.0, "data": 100.0})
    sections.enter(Section.STEP)
    sections.tick(50.0)
    with sections.section(Section.DATA):
        assert sections.tick(50.0) == []

    assert sections.tick(59.0) == []
    assert [each.kind for each in sections.tick(1.0)] == [Section.STEP]


def test_an_error_leaves_a_section(sections):
    """As its end does."""
    sections.enter(Section.STEP)
    with pytest.raises(KeyError), sections.section(Section.DATA):
        raise KeyError

    assert sections.current() is Section.STEP


def test_time_is_spent_in_the_innermost_section_of_the_main_thread(sections):
    """The parts add up to the time of the attempt."""
    sections.enter(Section.STEP)
    sections.tick(1.0)
    with sections.section(Section.DATA):
        sections.tick(2.0)
    sections.tick(4.0)

    assert sections.spent_s == {"step": 5.0, "data": 2.0}


def test_a_turn_is_told_of_at_once(sections):
    """Whoever keeps the GIL from then on may let no thread look again: the bound is another one."""
    turns = []
    sections.on_turn = lambda: turns.append((sections.current(), sections.bound_s(Section.STEP)))

    for kind in (Section.START, *[Section.STEP] * 4, Section.CLOSE):
        sections.enter(kind)

    assert turns == [("start", 1800.0), ("step", 1800.0), ("step", 60.0), ("close", 60.0)]


def test_what_was_learned_is_for_a_later_attempt(sections):
    """In tenths of a second."""
    sections.learn({"step": 2.04})
    later = Sections()
    later.learn(sections.learned())

    assert later.slowest_s == {"step": 2.0}


def test_kinds_of_another_version_are_ignored(sections):
    """A newer one may have written them."""
    sections.learn({"dreaming": 3.0, "step": 2.0})

    assert sections.slowest_s == {"step": 2.0}
