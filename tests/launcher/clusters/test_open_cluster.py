"""A cluster file is opened once."""

from pathlib import Path

import pytest

from launcher.clusters.cluster_report import report_cluster
from launcher.clusters.cluster_search import open_cluster
from launcher.slurm.site import SlurmSite


def test_a_cluster_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its config, and the lines of its values, come from one look at the file."""
    path = tmp_path / "mine.yaml"
    path.write_text("kind: local\ndescription: mine\ngpus: 0\n")
    reads = []
    read_text = Path.read_text

    def counted(self: Path, **options: str) -> str:
        reads.append(self)
        return read_text(self, **options)

    def no_slurm() -> SlurmSite:
        raise AssertionError("a local cluster has no Slurm")

    monkeypatch.setattr(Path, "read_text", counted)
    report = report_cluster(open_cluster(str(path)), no_slurm)

    assert reads == [path]
    assert [(each.field, each.source) for each in report.values if each.field == "gpus"] == [
        ("gpus", f"{path}:3")
    ]
