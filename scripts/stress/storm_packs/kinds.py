"""Every kind of fault, and how often each is tried compared with the others."""

from __future__ import annotations

from scripts.stress.storm_packs import file_faults, process_faults, slurm_faults
from scripts.stress.storm_packs.faults import Inflict

INFLICTIONS: dict[str, Inflict] = {
    each.__name__: each
    for each in (
        slurm_faults.preempt,
        slurm_faults.requeue,
        slurm_faults.node_down,
        slurm_faults.lose_node,
        slurm_faults.controller_down,
        slurm_faults.submit_again,
        slurm_faults.user_signal_on_or_off,
        process_faults.kill_rank,
        process_faults.kill_worker,
        process_faults.kill_supervisor,
        process_faults.kill_step,
        process_faults.freeze,
        process_faults.stop_job,
        process_faults.hang_worker,
        process_faults.hang_server,
        file_faults.data_eio,
        file_faults.data_enoent,
        file_faults.runs_eio,
        file_faults.runs_enoent,
        file_faults.disk_full,
        file_faults.break_node,
    )
}
WEIGHTS = {
    **dict.fromkeys(INFLICTIONS, 1.0),
    "preempt": 5.0,
    "kill_rank": 2.0,
    "freeze": 2.0,
    "hang_worker": 2.0,
    "data_eio": 1.5,
    "runs_eio": 1.5,
    "disk_full": 0.5,
    "user_signal_on_or_off": 0.5,
}
