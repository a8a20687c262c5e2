"""Metric writers: the scalars of a run as JSON lines, and in W&B."""

from trainers.metrics.json_lines_writer import JsonLinesWriter
from trainers.metrics.metric_writer import MetricWriter, MultiWriter, NullWriter
from trainers.run.metric_rows import read_rows

__all__ = ["JsonLinesWriter", "MetricWriter", "MultiWriter", "NullWriter", "read_rows"]
