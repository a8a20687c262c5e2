"""Where the scalars of a run go: JSON lines, and W&B beside them."""

from trainers.metrics.json_lines_writer import JsonLinesWriter, read_rows
from trainers.metrics.metric_writer import MetricWriter, MultiWriter, NullWriter

__all__ = ["JsonLinesWriter", "MetricWriter", "MultiWriter", "NullWriter", "read_rows"]
