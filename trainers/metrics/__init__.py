"""Metric writers: the scalars of a run as JSON lines, and in W&B."""

from trainers.metrics.json_lines_writer import JsonLinesWriter, read_rows
from trainers.metrics.metric_writer import MetricWriter, MultiWriter, NullWriter

__all__ = ["JsonLinesWriter", "MetricWriter", "MultiWriter", "NullWriter", "read_rows"]
