"""Bring a sandbox up, change it, and take it down."""

from __future__ import annotations

import shutil

from scripts.slurm_sandbox import accounting, configuration, daemons, machine
from scripts.slurm_sandbox.daemon import Daemon, kill, last_words, running, started, stop
from scripts.slurm_sandbox.errors import SandboxError
from scripts.slurm_sandbox.folder import Folder
from scripts.slurm_sandbox.job_processes import kill_job_processes
from scripts.slurm_sandbox.options import Options, read_options, write_options
from scripts.slurm_sandbox.progress import say, wait_until
from scripts.slurm_sandbox.release import provide
from scripts.slurm_sandbox.slurm_commands import slurm, succeeds
from scripts.slurm_sandbox.whole_file import write_whole


def up(options: Options, folder: Folder) -> None:
    """Make it as the options say, whatever it is now; jobs in the queue stay."""
    _check_release(options, folder)
    provide(options.release)
    machine.check_programs(options.accounting, options.release)
    ran_before = started(folder)
    try:
        _bring_up(options, folder)
    except BaseException:
        _end([name for name in started(folder) if name not in ran_before], folder)
        if not ran_before:
            machine.forget_nodes(_mark(folder))
            if not folder.has_state():
                folder.options.unlink(missing_ok=True)  # or another release would be refused
        raise
    say(f'{options.nodes} nodes are up: eval "$(scripts/slurm-sandbox env)"')


def _bring_up(options: Options, folder: Folder) -> None:
    host = machine.host()
    folder.make(options.node_names, options.gpus)
    machine.name_nodes(options.node_names, _mark(folder))
    _write_configuration(options, folder, host)
    write_options(folder.options, options)

    _munge(folder)
    if options.accounting:
        accounting.bring_up(options, folder, host)
    _controller(daemons.slurmctld(options, folder, host), options, folder)
    if options.limits:
        accounting.limit(folder)
    if not options.accounting:
        accounting.take_down(folder)
    _nodes(options, folder, host)
    _reconfigure(folder)
    _check_taken(options, folder)
    _wait_for_nodes(options, folder)


def down(folder: Folder, *, wipe: bool) -> None:
    """End the jobs and every process that the sandbox has started, and nothing else."""
    if running(folder, "slurmctld"):
        _cancel_jobs(folder)
    kill_job_processes(folder)
    _end(started(folder), folder)
    machine.forget_nodes(_mark(folder))
    if wipe:
        shutil.rmtree(folder.path)
        say(f"removed {folder.path}")


def _end(names: list[str], folder: Folder) -> None:
    slurmds = [name for name in names if name.startswith("slurmd-")]
    for name in (*slurmds, "slurmctld", "slurmdbd", "mariadbd", "munged"):
        if name in names:
            stop(folder, name)
            say(f"{name} has ended")


def kill_slurmd(node: str, folder: Folder) -> None:
    """As if the node were lost: its tasks live on, and nobody watches them."""
    _options_with(node, folder)
    kill(folder, f"slurmd-{node}")
    say(f"slurmd of {node} is dead; its tasks are not")


def start_slurmd(node: str, folder: Folder) -> None:
    options = _options_with(node, folder)
    daemon = daemons.slurmd(node, options, folder, machine.host())
    _slurmd(daemon, options.node_port(node), folder)
    _wait_for_nodes(options, folder, [node])


def _options_with(node: str, folder: Folder) -> Options:
    options = read_options(folder.options)
    if options is None:
        raise SandboxError(f"there is no sandbox in {folder.path}: scripts/slurm-sandbox up")
    if node not in options.node_names:
        raise SandboxError(f"no node {node!r}; there are {', '.join(options.node_names)}")
    return options


def _check_release(options: Options, folder: Folder) -> None:
    before = read_options(folder.options)
    if before and before.release != options.release:
        raise SandboxError(
            f"--release {options.release}: the queue and the accounts in {folder.path} are those "
            f"of Slurm {before.release}, and one cannot read the other's. Choose another --folder, "
            "or remove these: scripts/slurm-sandbox down --wipe"
        )


def _mark(folder: Folder) -> str:
    return f"# slurm-sandbox {folder.path}"


def _write_configuration(options: Options, folder: Folder, host: str) -> None:
    slurmdbd_conf = configuration.slurmdbd_conf(options, folder, host)
    write_whole(folder.etc / "slurmdbd.conf", slurmdbd_conf, mode=0o600)  # slurmdbd insists
    write_whole(folder.etc / "cgroup.conf", configuration.cgroup_conf())
    write_whole(folder.etc / "gres.conf", configuration.gres_conf(options, folder))
    write_whole(folder.slurm_conf, configuration.slurm_conf(options, folder, host))


def _munge(folder: Folder) -> None:
    daemon = daemons.munged(folder)
    if daemon.is_as_wanted(folder):
        return
    stop(folder, daemon.name)
    daemon.start(folder)
    wait_until(
        lambda: succeeds(folder, "munge", "-S", str(folder.munge_socket), "-n"),
        "munged answers",
        timeout_s=20,
        why_not=lambda: last_words(folder, daemon.name),
    )
    say("munged answers")


def _controller(daemon: Daemon, options: Options, folder: Folder) -> None:
    if daemon.is_as_wanted(folder):
        return
    stop(folder, daemon.name)
    machine.check_port(options.controller_port, daemon.name)
    write_whole(folder.taken_conf, folder.slurm_conf.read_text())
    daemon.start(folder)
    wait_until(
        lambda: succeeds(folder, "scontrol", "ping"),
        "slurmctld answers",
        timeout_s=60,
        why_not=lambda: last_words(folder, daemon.name),
    )
    say("slurmctld answers")


def _reconfigure(folder: Folder) -> None:
    text = folder.slurm_conf.read_text()
    if text != folder.taken_conf.read_text():
        slurm(folder, "scontrol", "reconfigure")
        write_whole(folder.taken_conf, text)
        say("slurmctld has read the changed configuration")


def _nodes(options: Options, folder: Folder, host: str) -> None:
    wanted = {node: daemons.slurmd(node, options, folder, host) for node in options.node_names}
    superfluous = [name for name in started(folder) if name.startswith("slurmd-")]
    for name in set(superfluous) - {daemon.name for daemon in wanted.values()}:
        stop(folder, name)
        say(f"{name} has ended")
    for node, daemon in wanted.items():
        _slurmd(daemon, options.node_port(node), folder)


def _slurmd(daemon: Daemon, port: int, folder: Folder) -> None:
    if daemon.is_as_wanted(folder):
        return
    stop(folder, daemon.name)
    machine.check_port(port, daemon.name)
    daemon.start(folder)
    say(f"{daemon.name} starts")


def _wait_for_nodes(options: Options, folder: Folder, nodes: list[str] | None = None) -> None:
    """Also brings back a node that Slurm has drained, for a duplicate job for instance."""
    wanted = nodes or options.node_names

    def all_up() -> bool:
        if not all(machine.listens(options.node_port(node)) for node in wanted):
            return False
        states = node_states(folder)
        for node in wanted:
            if states.get(node, "").startswith(("down", "drain", "fail")):
                succeeds(folder, "scontrol", "update", f"nodename={node}", "state=resume")
        return all(is_up(states.get(node, "")) for node in wanted)

    wait_until(
        all_up,
        f"{', '.join(wanted)} can take jobs",
        timeout_s=60,
        why_not=lambda: f" They are: {node_states(folder)}.{last_words(folder, 'slurmctld')}",
    )


def is_up(state: str) -> bool:
    """A state as sinfo prints it; `*` marks a node that does not answer."""
    return state.startswith(("idle", "mixed", "allocated", "completing")) and "*" not in state


def node_states(folder: Folder) -> dict[str, str]:
    lines = slurm(folder, "sinfo", "-hN", "-o", "%N %T").splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


def _check_taken(options: Options, folder: Folder) -> None:
    """Whether slurmctld says what was asked for."""
    found = slurm(folder, "scontrol", "show", "config")
    found += slurm(folder, "scontrol", "show", "partition", "preemptible")
    said = " ".join(found.split())
    wrong = [words for words in configuration.expected(options) if words not in said]
    if wrong:
        raise SandboxError(f"slurmctld has not taken the options; it does not say {wrong}")


def _cancel_jobs(folder: Folder) -> None:
    for partition in ("preemptible", "nograce", "cancel", "cancel-grace", "priority"):
        succeeds(folder, "scancel", f"--partition={partition}")
    try:
        wait_until(
            lambda: not slurm(folder, "squeue", "-h").strip(), "the queue is empty", timeout_s=3
        )
    except SandboxError:
        say("some jobs ignore that they are cancelled")
