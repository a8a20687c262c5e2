"""What the shell that submits has, and jobs and runs do not get."""

import os

import pytest

from launcher.environment import for_run, for_slurm
from launcher.job.machine import Machine
from launcher.job.member_process import MemberProcess
from launcher.job.slots import Slot
from launcher.submission import debug_run
from trainers.run.run_folder import RunFolder

# The input variables in the manual pages of Slurm 22.05 to 25.05.
_SBATCH = """
    ACCOUNT ACCTG_FREQ ARRAY_INX BATCH CLUSTERS CONSTRAINT CONTAINER CONTAINER_ID CORE_SPEC
    CPUS_PER_GPU CPUS_PER_TASK DEBUG DELAY_BOOT DISTRIBUTION ERROR EXCLUSIVE EXPORT EXTERN_NODE_INFO
    GET_USER_ENV GPU_BIND GPU_FREQ GPUS GPUS_PER_NODE GPUS_PER_TASK GRES GRES_FLAGS HINT IGNORE_PBS
    INPUT JOB_NAME MEM_BIND MEM_PER_CPU MEM_PER_GPU MEM_PER_NODE NETWORK NO_KILL NO_REQUEUE
    OPEN_MODE OUTPUT OVERCOMMIT OVERSUBSCRIBE PARTITION POWER PREFER PROFILE QOS REQ_SWITCH REQUEUE
    RESERVATION SEGMENT_SIZE SIGNAL SPREAD_JOB STEPMGR THREAD_SPEC THREADS_PER_CORE TIMELIMIT
    TRES_BIND TRES_PER_TASK USE_MIN_NODES WAIT WAIT4SWITCH WAIT_ALL_NODES WCKEY
"""
_SLURM = """
    ACCOUNT ACCTG_FREQ BCAST BCAST_EXCLUDE BITSTR_LEN BURST_BUFFER COMPRESS CONF_OUT CONSTRAINT
    CORE_SPEC CPU_BIND CPU_FREQ_REQ CPUS_PER_GPU CPUS_PER_TASK DEBUG DEBUG_FLAGS DELAY_BOOT
    DEPENDENCY DISABLE_STATUS DISTRIBUTION DIST_PLANESIZE EPILOG EXACT EXCLUSIVE EXIT_ERROR
    EXIT_IMMEDIATE EXPORT_ENV GPU_BIND GPU_FREQ GPUS GPUS_ON_NODE GPUS_PER_NODE GPUS_PER_TASK GRES
    GRES_FLAGS HINT IMMEDIATE JOBID JOB_GPUS JOB_ID JOB_NAME JOB_NODELIST JOB_NUM_NODES
    KILL_BAD_EXIT LABELIO LOCALID MEM_BIND MEM_PER_CPU MEM_PER_GPU MEM_PER_NODE MPI_TYPE NETWORK
    NNODES NODEID NODELIST NO_KILL NPROCS NTASKS NTASKS_PER_CORE NTASKS_PER_GPU NTASKS_PER_NODE
    NTASKS_PER_SOCKET OPEN_MODE OVERCOMMIT OVERLAP PARTITION PMI_KVS_NO_DUP_KEYS POWER PROCID
    PROFILE PROLOG QOS REMOTE_CWD REQ_SWITCH RESERVATION RESTART_COUNT RESV_PORTS SEND_LIBS SIGNAL
    SPREAD_JOB SRUN_REDUCE_TASK_EXIT_MSG STDERRMODE STDINMODE STDOUTMODE STEP_GRES STEP_ID
    STEP_KILLED_MSG_NODE_ID TASK_EPILOG TASK_PROLOG TEST_EXEC THREADS THREADS_PER_CORE THREAD_SPEC
    TIMELIMIT TIME_FORMAT TOPO_LEN TRES_PER_TASK UMASK UNBUFFEREDIO USE_MIN_NODES WAIT WAIT4SWITCH
    WCKEY WORKING_CLUSTER WORKING_DIR
"""
_OTHERS = """
    SACCT_FEDERATION SACCT_FORMAT SACCT_LOCAL SCANCEL_ACCOUNT SCANCEL_BATCH SCANCEL_CTLD
    SCANCEL_FULL SCANCEL_HURRY SCANCEL_INTERACTIVE SCANCEL_NAME SCANCEL_PARTITION SCANCEL_QOS
    SCANCEL_STATE SCANCEL_USER SCANCEL_VERBOSE SCANCEL_WCKEY SCONTROL_ALL SCONTROL_FEDERATION
    SCONTROL_FUTURE SCONTROL_LOCAL SCONTROL_SIBLING SINFO_ALL SINFO_FEDERATION SINFO_FORMAT
    SINFO_LOCAL SINFO_PARTITION SINFO_SORT SLURMD_DEBUG SLURMD_NODENAME SQUEUE_ACCOUNT SQUEUE_ALL
    SQUEUE_ARRAY SQUEUE_FEDERATION SQUEUE_FORMAT SQUEUE_FORMAT2 SQUEUE_LICENSES SQUEUE_LOCAL
    SQUEUE_NAMES SQUEUE_PARTITION SQUEUE_PRIORITY SQUEUE_QOS SQUEUE_SIBLING SQUEUE_SORT
    SQUEUE_STATES SQUEUE_USERS SRUN_CONTAINER SRUN_CPUS_PER_TASK SRUN_DEBUG SRUN_ERROR
    SRUN_EXPORT_ENV SRUN_INPUT SRUN_OUTPUT
"""
SLURM_VARIABLES = (
    *(f"SBATCH_{name}" for name in _SBATCH.split()),
    *(f"SLURM_{name}" for name in _SLURM.split()),
    *_OTHERS.split(),
)
GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
RANK_VARIABLES = (
    "GROUP_RANK",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "NODE_RANK",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "PMIX_RANK",
    "PMI_RANK",
    "PMI_SIZE",
    "RANK",
    "TORCHELASTIC_RUN_ID",
    "WORLD_SIZE",
)
OWN = {
    "HOME": "/home/me",
    "LD_LIBRARY_PATH": "/opt/lib",
    "PATH": "/usr/bin",
    "PYTHONPATH": "/opt/modules",
    "WANDB_API_KEY": "abc",
}


def test_nothing_of_another_job_reaches_slurm():
    """Neither what sbatch would read, nor what srun would read in the job that it makes."""
    others = (*SLURM_VARIABLES, *GPU_VARIABLES, *RANK_VARIABLES)

    assert for_slurm({**OWN, **dict.fromkeys(others, "1")}) == OWN


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        ("SLURM_CONF", True),
        ("SLURM_CONF_SERVER", True),
        ("SLURM_JWT", True),
        ("SLURM_CLUSTERS", True),
        ("SBATCH_CLUSTERS", False),
        ("SLURM_CLUSTER_NAME", False),
    ],
)
def test_the_cluster_is_chosen_by_what_all_commands_heed(name, stays):
    """Jobs that sbatch alone sent elsewhere would be looked for in the wrong queue."""
    assert (name in for_slurm({name: "x"})) == stays


def test_a_run_is_told_its_ranks_by_nobody_else():
    """It keeps what describes the job that it is in."""
    job = {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0", **OWN}

    assert for_run({**job, **dict.fromkeys(RANK_VARIABLES, "2")}) == job


def test_a_member_is_no_rank_of_what_surrounds_its_supervisor(tmp_path, monkeypatch):
    """Only what its supervisor says counts."""
    for name in RANK_VARIABLES:
        monkeypatch.setenv(name, "2")
    log = tmp_path / "logs" / "log"

    process = MemberProcess(
        ["env"],
        slot=Slot(machine=Machine(cores=()), gpus=(), cores=(), descriptors=()),
        gpus=(),
        cpus=1,
        log=log,
        environment={"RANK": "0"},
    )
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    process.clean_up()

    names = dict(line.partition("=")[::2] for line in log.read_text().splitlines())
    assert names["RANK"] == "0"
    assert not (set(RANK_VARIABLES) - {"RANK"}) & names.keys()


def test_a_debugged_run_is_no_rank(tmp_path, monkeypatch):
    """It trains in this process, whose variables torchrun may have set."""
    seen: dict[str, str] = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("trainers.__main__.main", lambda _: seen.update(os.environ) or 3)

    assert debug_run.run_here(RunFolder(tmp_path)) == 3

    assert "WORLD_SIZE" not in seen
