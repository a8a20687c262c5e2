import json
import re
from pathlib import Path

import pytest

import cluster_configs
from launcher.cli import main
from launcher.cluster_config import DebugClusterConfig, LocalClusterConfig, read_cluster
from launcher.cluster_search import find_cluster
from launcher.errors import LauncherError
from trainers.errors import ConfigError

PACKAGED = sorted(Path(cluster_configs.__file__).parent.glob("*.yaml"))


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty project folder, and a user without configs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def write(folder, name, text):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_what_we_ship_can_be_read(path):
    """Every packaged config is valid and says what it is."""
    assert read_cluster(path).description


def test_the_packaged_clusters():
    """Local and debug are there without any file of one's own."""
    assert read_cluster(find_cluster("local")) == LocalClusterConfig(
        kind="local",
        description="this machine, in the background, as many runs at once as it has room for",
    )
    assert isinstance(read_cluster(find_cluster("debug")), DebugClusterConfig)


def test_commented_keys_of_the_packaged_config_are_real():
    """Who removes the comment signs of local.yaml gets what the comments promise."""
    (local,) = [path for path in PACKAGED if path.stem == "local"]
    text = re.sub("^# ", "", local.read_text(), flags=re.MULTILINE)

    cluster = read_cluster(write(Path("other"), "local", text))

    assert (cluster.gpus, cluster.cpus, cluster.grace_s) == (2, 16, 120)


def test_the_project_comes_before_the_user_before_the_package(project):
    """A config hides those of its name in the folders after its own."""
    text = "kind: local\ndescription: here\n"
    user = write(project / "config" / "launch" / "clusters", "local", text)
    assert find_cluster("local") == user

    write(project / "cluster_configs", "local", text)
    assert find_cluster("local") == Path("cluster_configs/local.yaml")


def test_a_path_is_taken_as_it_is(project):
    """What ends in .yaml is looked for nowhere else."""
    path = write(project, "mine", "kind: debug\ndescription: mine\n")

    assert find_cluster("mine.yaml") == Path("mine.yaml")
    assert find_cluster(str(path)) == path


def test_an_unknown_name_lists_the_known_ones():
    """And says where to add one."""
    with pytest.raises(LauncherError) as caught:
        find_cluster("lokal")

    assert str(caught.value) == (
        "no cluster 'lokal'; there are debug, local. Add cluster_configs/lokal.yaml, or give the "
        "path of a .yaml file."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "kind: lokal\n",
            "c.yaml: kind: found 'lokal'; did you mean 'local'? allowed: local, debug",
        ),
        ("- 1\n", "c.yaml: kind: found null; allowed: local, debug"),
        ("kind: local\n", "c.yaml:1: description: required key is missing"),
        (
            "kind: local\ndescription: d\ncpu: 2\n",
            "c.yaml:3: cpu: unknown key; did you mean 'cpus'?",
        ),
        ("kind: local\ndescription: d\ncpus: 0\n", "c.yaml:3: cpus: found 0; must be at least 1"),
        ("kind: local\ndescription: d\ncpus: two\n", "c.yaml:3: cpus: found 'two'"),
        ("kind: local\ndescription: d\ngrace_s: 0\n", "c.yaml:3: grace_s: found 0"),
    ],
)
def test_a_malformed_config_is_refused(project, text, message):
    """As strictly as an experiment: file, line, key, what was found, what is allowed."""
    write(project, "c", text)

    with pytest.raises(ConfigError) as caught:
        read_cluster(Path("c.yaml"))

    assert str(caught.value).startswith(message)


def test_clusters_are_listed(project, capsys):
    """With what each is, or what is wrong with it, and its file."""
    write(project / "cluster_configs", "broken", "kind: local\n")

    assert main(["clusters"]) == 0
    header, broken, debug, _ = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "CLUSTER"
    assert "not usable: cluster_configs/broken.yaml:1: description: required key" in broken
    assert debug.startswith("debug    this very process")

    assert main(["clusters", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [cluster["name"] for cluster in listed] == ["broken", "debug", "local"]
    assert listed[0]["path"] == "cluster_configs/broken.yaml"
