import math

import pytest
import torch

from trainers.errors import (
    DataUnavailableError,
    NonFiniteError,
    StopRequestedError,
    StreamError,
)
from trainers.metrics.metric_writer import MetricWriter
from trainers.trainer import Trainer, TrainingContext
from trainers.training.checkpoint_hook import CheckpointHook
from trainers.training.non_finite import NonFiniteStepError
from trainers.training.random_state import RandomState
from trainers.training.run_parts import RunParts
from trainers.training.train_loop import train
from trainers.training_iteration_stats import TrainingIterationStats


class CountingTrainer(Trainer):
    """Draws one number per iteration, and remembers what happened in which order."""

    iteration = 0
    batch_size = 2
    learning_rate = 0.5
    context = TrainingContext(seed=3)
    loss = 1.0

    def __init__(self, log, failure=None, fails_at=None):
        self._log = log
        self._failure = failure
        self._fails_at = fails_at

    def create_optimizer(self, model):
        raise AssertionError("the loop gets its optimizer")

    def can_train(self, datasets):
        return True

    def build_batch_provider(self, datasets, model, task, snapshot_container=None):
        pass

    def iterate(self, num_iterations, model, optimizer, device):
        for _ in range(num_iterations):
            if self.iteration == self._fails_at:
                raise self._failure
            self._log.append(("draw", self.iteration, float(torch.rand(()))))
            self.iteration += 1
            yield TrainingIterationStats(
                iteration=self.iteration - 1,
                loss=self.loss,
                time=0.5,
                data_wait=0.5,
                learning_rate=0.1,
            )

    def __exit__(self, *error):
        self._log.append(("exit",))


class LoggingWriter(MetricWriter):
    """Notes what the loop tells it."""

    def __init__(self, log):
        self._log = log

    def write(self, iteration, scalars):
        self._log.append(("write", iteration, dict(scalars)))

    def sync(self):
        raise AssertionError("what saves syncs the rows")

    def close(self, *, finished, preempted):
        raise AssertionError("the loop does not own the writer")


class LoggingHook(CheckpointHook):
    """Notes what the loop tells it."""

    def __init__(self, log):
        self._log = log

    def after_iteration(self, iteration, row, random_state):
        self._log.append(("save if due", iteration, dict(row), random_state))
        return 0.25 if iteration == 2 else None

    def at_end(self, iteration, row, random_state):
        self._log.append(("end", iteration, dict(row), random_state))

    def at_interruption(self, iteration, random_state):
        self._log.append(("interruption", iteration, {}, random_state))


def run(log, *, start=0, num_iterations=5, stop_at=None, failure=None, fails_at=None, **changes):
    trainer = CountingTrainer(log, failure, fails_at)
    trainer.iteration = start
    for name, value in changes.items():
        setattr(trainer, name, value)
    with trainer:
        return train(
            RunParts(trainer, None, None, torch.device("cpu")),
            RandomState.of_iteration(3, start),
            num_iterations=num_iterations,
            hook=LoggingHook(log),
            writer=LoggingWriter(log),
            should_stop=lambda: trainer.iteration == stop_at,
            report=lambda stats: log.append(("report", stats.iteration)),
        )


def events(log, *kinds):
    return [entry[:2] for entry in log if entry[0] in kinds]


@pytest.fixture(autouse=True)
def _restore_generator():
    saved = torch.get_rng_state()
    yield
    torch.set_rng_state(saved)


def test_every_iteration_is_to_be_saved_and_the_last_one_must_be():
    """What saves the run is told of every iteration, and of the last one that it is."""
    log: list = []

    assert run(log, num_iterations=3)

    assert events(log, "save if due", "end") == [("save if due", 1), ("save if due", 2), ("end", 3)]
    assert log[-1] == ("exit",)


def test_a_stop_saves_at_once_and_leaves():
    """Asked to stop, the loop commits the iteration it is at and trains no further."""
    log: list = []

    assert not run(log, stop_at=3)

    assert events(log, "end") == [("end", 3)]
    assert events(log, "draw")[-1][1] == 2


def test_a_stop_between_two_iterations_saves_the_last_one():
    """The samples of the next one are not waited for; what they would change is not there yet."""
    log: list = []

    assert not run(log, failure=StopRequestedError("stopped"), fails_at=3)

    assert events(log, "save if due", "interruption", "end")[-2:] == [
        ("save if due", 3),
        ("interruption", 3),
    ]


@pytest.mark.parametrize("failure", [DataUnavailableError("away"), StreamError("killed")])
def test_samples_that_do_not_come_cost_no_iteration(failure):
    """The state in memory is saved, with the random state that the next iteration starts from."""
    log: list = []

    with pytest.raises(type(failure)):
        run(log, failure=failure, fails_at=3)

    (saved,) = [entry for entry in log if entry[0] == "interruption"]
    (before,) = [entry for entry in log if entry[0] == "save if due" and entry[1] == 3]
    assert saved[1] == 3
    assert saved[3] is before[3]


def test_what_nothing_was_trained_on_is_not_saved():
    """The checkpoint that the attempt started from is there already."""
    log: list = []

    with pytest.raises(DataUnavailableError):
        run(log, start=2, failure=DataUnavailableError("away"), fails_at=2)

    assert events(log, "interruption", "end") == []


def test_an_iteration_is_written_then_saved_then_reported():
    """A checkpoint has no rows after it that it does not know of, and reports come last."""
    log: list = []

    run(log, num_iterations=1)

    assert [entry[0] for entry in log] == ["draw", "write", "end", "report", "exit"]


def test_what_saves_gets_the_random_state_of_the_next_iteration():
    """A run that resumes from it draws what this one draws next."""
    log: list = []
    run(log, num_iterations=2)
    (state,) = [entry[3] for entry in log if entry[0] == "save if due"]

    state.apply()

    assert float(torch.rand(())) == [entry[2] for entry in log if entry[0] == "draw"][1]


def test_scalars_are_per_second_and_in_seconds():
    """The figures of a row follow from the stats and the batch size."""
    log: list = []

    run(log, num_iterations=1)

    assert log[1] == (
        "write",
        0,
        {
            "loss": 1.0,
            "learning_rate": 0.1,
            "step_time_s": 0.5,
            "data_wait_s": 0.5,
            "samples_per_second": 2.0,
        },
    )


def test_the_stall_of_a_save_is_in_the_row_of_the_next_iteration():
    """Rows are written before their checkpoint; those without a save before them have none."""
    log: list = []

    run(log, num_iterations=4)

    rows = [entry[2] for entry in log if entry[0] == "write"]
    assert [row.get("save_stall_s") for row in rows] == [None, None, 0.25, None]


def test_a_resumed_run_draws_the_same_numbers():
    """The global generators at an iteration do not depend on where the run was started."""
    whole: list = []
    tail: list = []

    run(whole)
    run(tail, start=3)

    assert tail[0] == whole[[entry[:2] for entry in whole].index(("draw", 3))]


@pytest.mark.parametrize(
    ("start", "is_state_finite", "goes_back", "saved"),
    [
        (0, True, False, [("interruption", 3)]),
        (3, True, False, []),
        (0, False, False, []),
        (0, True, True, []),
    ],
)
def test_the_state_before_a_bad_step_is_saved(start, is_state_finite, goes_back, saved):
    """Unless it was saved already, is not finite, or the run goes back from there."""
    log: list = []
    error = NonFiniteStepError("bad", 3, is_state_finite, goes_back)

    with pytest.raises(NonFiniteStepError):
        run(log, start=start, fails_at=3, failure=error)

    assert events(log, "interruption") == saved


def test_a_loss_that_a_trainer_lets_pass_ends_the_run():
    """Nothing of such an iteration is written or saved: its step was taken."""
    log: list = []

    with pytest.raises(NonFiniteError, match="iteration 0: the loss is nan"):
        run(log, loss=math.nan)

    assert events(log, "write", "save if due", "end", "interruption") == []
