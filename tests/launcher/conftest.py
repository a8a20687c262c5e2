import pytest

from scripts.workloads.empty_volume import write_empty_volume
from tests.fakes.fake_slurm import FakeSlurm
from tests.launcher.workplace import EXPERIMENT, Workplace


@pytest.fixture
def workplace(tmp_path, monkeypatch, capsys):
    """Its slots are its own: two, whatever the machine has, and however busy that is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAUNCH_SLOTS_DIR", str(tmp_path / "slots"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "dummies.yaml").write_text(EXPERIMENT)
    write_empty_volume(tmp_path / "volume.zarr")
    (tmp_path / "cluster_configs").mkdir()
    config = "kind: local\ndescription: two slots\ngpus: 0\ncpus: 2\nmemory_gb: 64\n"
    (tmp_path / "cluster_configs" / "local.yaml").write_text(config)
    workplace = Workplace(tmp_path, capsys)
    yield workplace
    workplace.clean_up()


@pytest.fixture
def slurm(tmp_path_factory, monkeypatch):
    """Programs with the names of Slurm's that print what a test says."""
    return FakeSlurm(tmp_path_factory.mktemp("slurm"), monkeypatch)
