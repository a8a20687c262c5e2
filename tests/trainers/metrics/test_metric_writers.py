"""Writers that pass rows on."""

from collections.abc import Mapping

from trainers.metrics.metric_writer import MultiWriter, NullWriter, ThinningWriter


class Rows(NullWriter):
    def __init__(self) -> None:
        self.iterations: list[int] = []
        self.calls: list[str] = []

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        self.iterations.append(iteration)

    def sync(self) -> None:
        self.calls.append("sync")

    def close(self, *, finished: bool, preempted: bool) -> None:
        self.calls.append(f"close {finished} {preempted}")


def test_rows_come_every_so_often() -> None:
    """Iterations count from 0, so that a resumed run writes the same rows."""
    rows = Rows()
    writer = ThinningWriter(MultiWriter([rows]), every=4)

    for iteration in range(3, 9):
        writer.write(iteration, {})
    writer.sync()
    writer.close(finished=False, preempted=True)

    assert rows.iterations == [4, 8]
    assert rows.calls == ["sync", "close False True"]
