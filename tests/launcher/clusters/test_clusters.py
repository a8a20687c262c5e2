import json
import re
from pathlib import Path

import attrs
import pytest

import cluster_configs
from launcher import exit_codes
from launcher.cli import main
from launcher.cli.arguments import parse
from launcher.clusters.cluster_config import (
    DebugClusterConfig,
    LocalClusterConfig,
    read_cluster,
)
from launcher.clusters.cluster_search import find_cluster, open_cluster
from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.clusters.submission_target import SlurmOptions
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


def uncommented(name):
    """A packaged config with the comment signs removed, as a file of one's own."""
    (path,) = [path for path in PACKAGED if path.stem == name]
    text = re.sub("^# (?=[a-z_]+: )", "", path.read_text(), flags=re.MULTILINE)
    return write(Path("other"), name, text)


def test_commented_keys_of_the_packaged_config_are_real():
    """Who removes the comment signs of local.yaml gets what the comments promise."""
    cluster = read_cluster(uncommented("local"))
    assert isinstance(cluster, LocalClusterConfig)

    assert (cluster.gpus, cluster.cpus, cluster.grace_s) == (2, 16, 120)


def test_slurm_yaml_shows_all_that_can_be_set():
    """Nothing is set; without the comment signs everything is, and all of it is right."""
    nothing = SlurmClusterConfig(
        kind="slurm", description="the Slurm cluster of this machine, as Slurm itself describes it"
    )
    everything = attrs.asdict(read_cluster(uncommented("slurm")))

    assert read_cluster(find_cluster("slurm")) == nothing
    assert [name for name, value in everything.items() if value in (None, (), {})] == []


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
        "no cluster 'lokal'; did you mean 'local'? available: debug, eight_gpu_nodes, local, "
        "no_accounting, no_scontrol, single_gpu_nodes, slurm. Add "
        "cluster_configs/lokal.yaml, or give the path of a .yaml file."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "kind: lokal\n",
            "c.yaml:1: kind: found 'lokal'; did you mean 'local'? allowed: local, debug, slurm",
        ),
        ("- 1\n", "c.yaml:1: kind: found null; allowed: local, debug, slurm"),
        ("kind: []\n", "c.yaml:1: kind: found []; allowed: local, debug, slurm"),
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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("partitions: gpu", "partitions: unknown key; did you mean 'partition'?"),
        ("partition: 1", "partition: found 1; must be text; put it in quotes if it is"),
        ("partition: ''", "partition: found ''; must not be empty"),
        ("nodes: 0", "nodes: found 0; must be at least 1"),
        ("gpus_per_node: 1.5", "gpus_per_node: found 1.5; must be a whole number"),
        ("memory_gb_per_node: 0", "memory_gb_per_node: found 0; must be more than 0"),
        ("time: 12h", "time: found '12h'; must be a time above 0 as HH:MM:SS or days-HH:MM:SS"),
        ("time: 60", "time: found 60; must be text"),
        ("time: 00:00:00", "time: found '00:00:00'; must be a time above 0"),
        ("grace_s: -1", "grace_s: found -1; must be more than 0"),
        ("signal: SIGUSR2", "signal: found 'SIGUSR2'; allowed: USR2, USR1, TERM"),
        ("max_array_size: 0", "max_array_size: found 0; must be at least 1"),
        ("accounting: maybe", "accounting: found 'maybe'; must be true or false"),
        ("requeue: scontroll", "requeue: found 'scontroll'; did you mean 'scontrol'? allowed:"),
        ("setup: module load cuda", "setup: found 'module load cuda'; must be a list"),
        ("setup: [a, '']", "setup.1: found ''; must be one line"),
        ("environment: {A B: x}", "environment.A B: must be a name of letters, digits and _"),
        ("environment: {A: 1.5}", "environment.A: found 1.5; must be text; put it in quotes"),
        ("sbatch: [nice]", "sbatch: found ['nice']; must be a mapping"),
        ("gpu_type: a100:2", "gpu_type: found 'a100:2'; must be one type of GPUs without their"),
        ("gpu_request: gpus", "gpu_request: found 'gpus'; "),
        ("memory: 4G", "memory: found '4G'; allowed: per-node, per-cpu, per-gpu, none"),
        ("exclude: n1 n2", "exclude: found 'n1 n2'; must be names of nodes without spaces"),
        ("wckey: ''", "wckey: found ''; must be text in one line"),
        (
            "sbatch: {gpus-per-node: 'a100:1'}",
            "sbatch.gpus-per-node: is set by the field gpus_per_node or gpu_type; use that one",
        ),
        ("sbatch: {cpus_per_task: 4}", "sbatch.cpus_per_task: is set by the field cpus_per_node"),
        ("sbatch: {gres: gpu}", "sbatch.gres: is set by the launcher, from what the runs ask for"),
        ("sbatch: {gres: 'ssd:1,gpu:a100:1'}", "sbatch.gres: is set by the launcher"),
        ("sbatch: {--nice: 1}", "sbatch.--nice: must be a long option of sbatch without --"),
        ("sbatch: {exclusive: false}", "sbatch.exclusive: found false; must be text in one line"),
    ],
)
def test_a_malformed_slurm_config_is_refused(project, line, message):
    """File, line, key, what was found, what is allowed; what a field is for, nothing else sets."""
    write(project, "c", f"kind: slurm\ndescription: d\n{line}\n")

    with pytest.raises(ConfigError) as caught:
        read_cluster(Path("c.yaml"))

    assert str(caught.value).startswith(f"c.yaml:3: {message}")


def test_all_faults_are_listed_at_once(project):
    """By line."""
    text = "kind: slurm\ndescription: d\nnodes: 0\nsbatch:\n  gpus: 4\n  nice: 1\n  time: 5\n"
    write(project, "c", text)

    with pytest.raises(ConfigError) as caught:
        read_cluster(Path("c.yaml"))

    places = [line.split(" ")[0] for line in str(caught.value).splitlines()]
    assert places == ["c.yaml:3:", "c.yaml:5:", "c.yaml:7:"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "wckey: lab\nsbatch: {wckey: other}",
            "c.yaml:4: sbatch.wckey: is set by the field wckey, too; remove one of them",
        ),
        (
            "memory: per-gpu\nsbatch: {mem_per_cpu: 4G}",
            "c.yaml:4: sbatch.mem_per_cpu: memory: per-gpu asks for it, too; remove one",
        ),
        (
            "sbatch:\n  mem: 4G\n  mem-per-cpu: 1G",
            "c.yaml:5: sbatch.mem-per-cpu: excludes mem; remove one of them",
        ),
        (
            "gpu_request: none\ngpu_type: a100",
            "c.yaml:4: gpu_type: gpu_request: none asks for no type; remove one",
        ),
        (
            "gpu_request: none\nmemory: per-gpu",
            "c.yaml:4: memory: gpu_request: none asks for no GPUs that memory could be for; remove "
            "one",
        ),
    ],
)
def test_what_is_said_twice_is_refused(project, lines, message):
    """One of two values would be passed over without a word."""
    write(project, "c", f"kind: slurm\ndescription: d\n{lines}\n")

    with pytest.raises(ConfigError) as caught:
        read_cluster(Path("c.yaml"))

    assert str(caught.value) == message


def test_options_of_sbatch_that_contradict_nothing(project):
    """Other generic resources, memory in another way, and what is a field as well."""
    options = "{gres: 'lscratch:100', mem: 0, wckey: '', exclude: n1, mail-type: END, nice: 5}"
    write(project, "c", f"kind: slurm\ndescription: d\nsbatch: {options}\n")

    config = read_cluster(Path("c.yaml"))

    assert isinstance(config, SlurmClusterConfig)
    assert len(config.sbatch) == 6


def test_clusters_are_listed(project, capsys):
    """With what each is, or what is wrong with it, and its file."""
    write(project / "cluster_configs", "broken", "kind: local\n")

    assert main(["clusters"]) == 0
    header, broken, debug, *_ = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "CLUSTER"
    assert "not usable: cluster_configs/broken.yaml:1: description: required key" in broken
    assert re.match("debug +this very process", debug)

    assert main(["clusters", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [cluster["name"] for cluster in listed][:2] == ["broken", "debug"]
    assert listed[0]["path"] == "cluster_configs/broken.yaml"


def test_a_cluster_is_explained(project, capsys):
    """Every value, and whether it stands in the file, and where."""
    write(project / "cluster_configs", "half", "kind: local\ndescription: d\ngpus: 2\n")

    assert main(["clusters", "half"]) == 0
    title, _, *rows = capsys.readouterr().out.splitlines()
    assert title == "cluster_configs/half.yaml, of kind local: d"
    assert [row.split() for row in rows] == [
        ["FIELD", "VALUE", "FROM"],
        ["gpus", "2", "cluster_configs/half.yaml:3"],
        ["cpus", "-", "default"],
        ["memory_gb", "-", "default"],
        ["grace_s", "120", "default"],
    ]

    assert main(["clusters", "half", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["values"][0] == {
        "field": "gpus",
        "value": 2,
        "source": "cluster_configs/half.yaml:3",
    }


def test_a_slurm_cluster_is_explained_without_slurm(project, capsys, monkeypatch):
    """As far as the config goes; why there is no more is told, also by the exit code."""
    monkeypatch.setenv("PATH", str(project))
    write(project / "cluster_configs", "hpc", "kind: slurm\ndescription: d\npartition: gpu\n")

    assert main(["clusters", "hpc"]) == exit_codes.REFUSED
    text = capsys.readouterr().out
    assert re.search("^partition +gpu +cluster_configs/hpc.yaml:3$", text, flags=re.MULTILINE)
    assert text.endswith(
        "`scontrol show config`: no such program; run this where Slurm is, such as on a login "
        "node\n"
    )


@pytest.mark.parametrize(
    "option", [{"partition": "gpu"}, {"nodes": 2}, {"pack": "none"}, {"gpu_type": "a100"}]
)
def test_options_for_slurm_are_refused_elsewhere(option):
    """The error names the option and the cluster."""
    with pytest.raises(LauncherError) as caught:
        SlurmOptions(**option).refuse_unless_slurm(open_cluster("local"))

    assert str(caught.value).startswith(
        f"--{next(iter(option)).replace('_', '-')}: only for clusters of kind slurm, and local is "
        "not one"
    )


@pytest.mark.parametrize("option", ["--nodes=0", "--nodes=two", "--pack=0", "--pack=all"])
def test_options_for_slurm_that_make_no_sense(option, capsys):
    """Usage, with the value found."""
    with pytest.raises(SystemExit) as caught:
        parse(["submit", "e.yaml", "--cluster", "slurm", option])

    assert caught.value.code == exit_codes.UNUSABLE
    assert f"found '{option.partition('=')[2]}'; must be" in capsys.readouterr().err
