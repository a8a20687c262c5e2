"""What Slurm, and whoever uses or operates it, does to runs."""

from __future__ import annotations

import time

from scripts.stress.storm_packs.faults import Fault, Faults

NOTHING_TO_DO = 3
"""The exit status of `launch submit`."""
CONTROLLER_DOWN_S = 20.0


def preempt(storm: Faults) -> Fault:
    pack = storm.a_pack()
    hold_s = round(storm.draw.uniform(0.2, 4), 1)
    began = time.time()
    storm.sandbox.preempt(pack.job, hold_s=hold_s)
    return Fault(
        kind="preempt",
        time=began,
        what=f"{pack.job}, for {hold_s} s",
        runs=storm.on(pack.nodes),
        is_gentle=storm.round.partition == "preemptible",
    )


def requeue(storm: Faults) -> Fault:
    pack, began = storm.a_pack(), time.time()
    storm.sandbox.run("scontrol", "requeue", pack.job)
    return Fault(kind="requeue", time=began, what=pack.job, runs=pack.members)


def node_down(storm: Faults) -> Fault:
    node = storm.a_node()
    runs, began = storm.on([node]), time.time()
    storm.sandbox.run("scontrol", "update", f"nodename={node}", "state=down", "reason=storm")
    storm.lost[node] = None
    after = storm.draw.uniform(2, 15)

    def back() -> None:
        storm.resume(node)
        del storm.lost[node]

    storm.later(began + after, back)
    what = f"{node}, for {after:.0f} s"
    return Fault(kind="node_down", time=began, what=what, runs=runs, nodes=[node])


def lose_node(storm: Faults) -> Fault:
    node = storm.a_node()
    runs, began = storm.on([node]), time.time()
    storm.sandbox.kill_slurmd(node)
    storm.lost[node] = None
    after = storm.draw.uniform(2, 45)
    storm.later(began + after, lambda: storm.heal(node))
    what = f"{node}, for {after:.0f} s"
    return Fault(kind="lose_node", time=began, what=what, runs=runs, nodes=[node])


def controller_down(storm: Faults) -> Fault | None:
    """Nothing else happens meanwhile: whatever this program asks Slurm would have no answer."""
    if not storm.is_calm:  # it would bring lost nodes back
        return None
    began = time.time()
    storm.sandbox.script("stop-slurmctld")
    time.sleep(CONTROLLER_DOWN_S)
    storm.sandbox.configure(**storm.sandbox.options)
    seconds = time.time() - began
    return Fault(
        kind="controller_down",
        time=began,
        seconds=seconds,
        what=f"for {seconds:.0f} s",
        runs=storm.round.names,
    )


def submit_again(storm: Faults) -> Fault | None:
    crasher = storm.round.state(storm.round.runs.crasher)
    if crasher.num_counted("crashed") >= storm.round.runs.crashes:
        return None  # it is about to fail, and would be tried again
    if storm.is_disk_full:
        return None
    before, began = storm.round.packs(), time.time()
    for done in storm.round.submit():
        if done.returncode != NOTHING_TO_DO or storm.round.packs() != before:
            storm.problems.append(
                f"submitting again did something: {done.returncode} {done.stderr}"
            )
    return Fault(kind="submit_again", time=began, what=storm.round.experiment.name)


def user_signal_on_or_off(storm: Faults) -> Fault | None:
    if storm.lost:  # it would bring lost nodes back
        return None
    began, options = time.time(), storm.sandbox.options
    wanted = not options.get("user_signal", True)
    storm.sandbox.configure(**{**options, "user_signal": wanted})
    return Fault(kind="user_signal_on_or_off", time=began, what=str(wanted))
