"""What is said about a packing."""

from launcher.packing.packing import pack
from launcher.submission.packing_report import packing_lines, waiting_notice
from tests.launcher.clusters.test_sites import resolve as resolve_at
from tests.launcher.clusters.test_sites import run
from tests.launcher.clusters.test_slurm_target import ACCOUNTED, resolve


def test_runs_that_wait_for_each_other_are_told_of():
    """With how long the jobs are, and whose limit it is."""
    target = resolve(ACCOUNTED, partition="gpu")
    runs = [run(f"{number}", gpus=4, hours=0.5) for number in range(101)]

    few = pack(runs[:50], target.pack_limits())
    many = pack(runs, target.pack_limits())

    assert waiting_notice(few, target) is None
    assert waiting_notice(many, target) == (
        "runs wait for each other in their jobs, which take up to 01:30:00: side by side they make "
        "101 jobs, and 50 more may be in the queue (Slurm: QOS low: 50)"
    )


def test_memory_that_nodes_do_not_tell():
    """It is unknown, not infinite."""
    target = resolve_at("no_memory")

    text = "\n".join(packing_lines(pack([run()], target.pack_limits()), target))

    assert "48 CPUs, memory unknown;" in text
    assert "0% of the memory" in text
