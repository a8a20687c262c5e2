"""Read what runs have come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import field, frozen

from launcher.errors import LauncherError, suggestions
from launcher.monitor.status import RunStatus, read_statuses
from launcher.os_errors import PatientReader
from launcher.report.gpu_use import GpuUse, gpu_use
from launcher.report.metric_curves import Best, Curve, MetricCurves, read_curves
from trainers.checkpoints.retention import BestMode
from trainers.config.yaml_source import YamlSource
from trainers.errors import ConfigError
from trainers.run.attempt_history import Attempt, attempt_history, read_events
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Status

LOSS = "loss"


@frozen(kw_only=True)
class RunResult:
    """What is known of a run; what cannot be read is empty, and named in `problems`."""

    folder: RunFolder
    status: RunStatus
    config: dict[str, Any] = field(factory=dict)
    """Plain data."""
    curves: MetricCurves = field(factory=MetricCurves)
    attempts: tuple[Attempt, ...] = ()
    gpu_use: GpuUse = field(factory=GpuUse)
    problems: tuple[str, ...] = ()
    """A sentence each."""

    @property
    def loss(self) -> float | None:
        """The mean loss over the last tenth of the rows."""
        return self.curve(LOSS).tail_mean()

    def curve(self, metric: str) -> Curve:
        return self.curves.by_name.get(metric) or Curve()

    def best(self, judged: JudgedMetric) -> Best | None:
        return self.curve(judged.name).best(judged.mode)


@frozen
class JudgedMetric:
    """The metric by which runs are compared."""

    name: str
    mode: BestMode

    def best_of(self, results: Sequence[RunResult]) -> RunResult | None:
        """Return the best run; None if none has the metric."""
        sign = 1 if self.mode == "max" else -1
        known = [(best.value, each) for each in results if (best := each.best(self))]
        return max(known, key=lambda pair: sign * pair[0])[1] if known else None


def read_results(
    runs: Sequence[RunFolder], on_read: Callable[[int, int], None] = lambda done, total: None
) -> list[RunResult]:
    """Read configs, metrics and events of runs, which may be training meanwhile.

    Args:
        on_read: Called with the number of runs that are read, and of all.
    """
    reader = PatientReader()
    results = []
    for status, run in zip(read_statuses(runs), runs, strict=True):
        results.append(_read_result(run, status, reader))
        on_read(len(results), len(runs))
    return results


def _read_result(run: RunFolder, status: RunStatus, reader: PatientReader) -> RunResult:
    num_before = len(reader.problems)
    config, problems = _read_config(run, reader)
    curves = reader.read_or(MetricCurves(), partial(read_curves, run.metrics))
    events = reader.read_or((), lambda: tuple(read_events(run.events)))
    attempts = tuple(attempt_history(events))
    problems += reader.problems[num_before:]
    if curves.num_damaged:
        problems.append(
            f"left out of {run.metrics}, as they are damaged: {curves.num_damaged} lines"
        )
    resources = config.get("resources")
    return RunResult(
        folder=run,
        status=status,
        config=config,
        curves=curves,
        attempts=attempts,
        gpu_use=gpu_use(
            attempts,
            resources if isinstance(resources, dict) else {},
            now=time.time() if status.state == Status.RUNNING else None,
        ),
        problems=tuple(problems),
    )


def _read_config(run: RunFolder, reader: PatientReader) -> tuple[dict[str, Any], list[str]]:
    """Return the config as plain data, so that one of another version can be read as well."""
    try:
        source = reader.read_or(None, lambda: YamlSource.read(run.config))
    except ConfigError as error:
        return {}, [str(error)]
    if source is None:
        return {}, []
    if not isinstance(source.data, dict):
        return {}, [f"{run.config} does not hold the config of a run"]
    return source.data, []


def judged_metric(
    results: Sequence[RunResult], name: str | None, mode: BestMode | None
) -> JudgedMetric:
    """Return the metric to compare runs by.

    Args:
        name: None: that of `checkpoint.keep_best` in the first config that has it, else the loss.
        mode: None: that of `keep_best` if it is the same metric, else `min`.

    Raises:
        LauncherError: No run has the metric.
    """
    configured = next(filter(None, map(_configured_metric, results)), None)
    if name is None:
        name = configured.name if configured else LOSS
    else:
        known = list(dict.fromkeys(each for run in results for each in run.curves.by_name))
        if name not in known:
            raise LauncherError(f"no run has the metric {name!r}; {suggestions(name, known)}")
    if mode is None:
        mode = configured.mode if configured and configured.name == name else "min"
    return JudgedMetric(name, mode)


def _configured_metric(result: RunResult) -> JudgedMetric | None:
    checkpoint = result.config.get("checkpoint")
    keep_best = checkpoint.get("keep_best") if isinstance(checkpoint, dict) else None
    if not isinstance(keep_best, dict) or not isinstance(keep_best.get("metric"), str):
        return None
    return JudgedMetric(keep_best["metric"], "max" if keep_best.get("mode") == "max" else "min")
