"""The configuration files as text, and what a change of them asks for."""

from __future__ import annotations

from scripts.slurm_sandbox.folder import Folder
from scripts.slurm_sandbox.options import Options
from scripts.slurm_sandbox.release import plugin_settings

CLUSTER = "sandbox"

LIVE = ("SlurmctldParameters", "KillWait", "JobRequeue", "SlurmdTimeout", "PartitionName")
"""What `scontrol reconfigure` takes; for the rest slurmctld has to start again."""


def slurm_conf(options: Options, folder: Folder, host: str) -> str:
    types = options.gpus_by_type
    counts = [f"gpu:{name}:{number}" for name, number in types.items()] or [f"gpu:{options.gpus}"]
    gres = f" Gres={','.join(counts)}" if options.gpus else ""
    memory = f" RealMemory={options.memory_mb}" if options.memory_mb else ""
    selected, share = ("CR_CPU_Memory", "DefMemPerCPU=100 ") if memory else ("CR_CPU", "")
    ports = f"[{options.node_port('n1')}-{options.node_port(f'n{options.nodes}')}]"
    user_signal = "SlurmctldParameters=preempt_send_user_signal\n" if options.user_signal else ""
    preemption = "partition_prio" if options.preempt_by == "partition" else "qos"
    partition = f"Nodes=ALL {share}DefaultTime=01:00:00 MaxTime=INFINITE State=UP"
    return f"""\
{plugin_settings(options.release)}ClusterName={CLUSTER}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={options.controller_port}
SrunPortRange={options.port_base + 200}-{options.port_base + 999}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
# a requeued job waits until its credential has expired
AuthInfo=socket={folder.munge_socket},cred_expire={max(5, options.kill_wait)}
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder.queue}
SlurmdSpoolDir={folder.spool("%n")}
SlurmctldPidFile={folder.path}/run/slurmctld.pid
SlurmdPidFile={folder.path}/run/slurmd-%n.pid
SlurmctldLogFile={folder.log("slurmctld")}
SlurmdLogFile={folder.log("slurmd-%n")}
SlurmctldDebug=info
SlurmdDebug=info
MailProg=/bin/true
MpiDefault=none
# no cgroups, no pinning, more CPUs than there are
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
SlurmdParameters=config_overrides
ReturnToService=2
{user_signal}SlurmdTimeout={options.slurmd_timeout}
SlurmctldTimeout=30
MessageTimeout=20
TCPTimeout=5
KillWait={options.kill_wait}
UnkillableStepTimeout=60
MinJobAge=600
InactiveLimit=0
WaitTime=0
CompleteWait=0
JobRequeue={int(options.requeue)}
MaxArraySize={options.max_array_size}
MaxJobCount=20000
SchedulerType=sched/backfill
SchedulerParameters={",".join(_SCHEDULER)}
SelectType=select/{options.select}
SelectTypeParameters={selected}
PreemptType=preempt/{preemption}
PreemptMode=REQUEUE
PreemptExemptTime=0
GresTypes=gpu
{_accounting(options, folder)}
NodeName=n[1-{options.nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port={ports} \
CPUs={options.cpus}{memory}{gres} State=UNKNOWN
PartitionName=preemptible Default=YES PriorityTier=1 PreemptMode=REQUEUE \
GraceTime={options.grace} {partition}
PartitionName=nograce PriorityTier=1 PreemptMode=REQUEUE GraceTime=0 {partition}
PartitionName=cancel PriorityTier=1 PreemptMode=CANCEL GraceTime=0 {partition}
PartitionName=cancel-grace PriorityTier=1 PreemptMode=CANCEL GraceTime={options.grace} {partition}
PartitionName=priority PriorityTier=10 PreemptMode=OFF {partition}
"""


_SCHEDULER = (  # a job starts at once
    "bf_interval=2",
    "sched_interval=2",
    "bf_continue",
    "batch_sched_delay=0",
    "sched_min_interval=100000",
    "default_queue_depth=2000",
    "bf_max_job_test=2000",
    "max_rpc_cnt=0",
)


def _accounting(options: Options, folder: Folder) -> str:
    if not options.accounting:
        return "AccountingStorageType=accounting_storage/none\nPriorityType=priority/basic"
    return f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={options.accounting_port}
# the munge socket; without it sacctmgr asks the machine's own munge
AccountingStoragePass={folder.munge_socket}
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,qos{",limits" if options.limits else ""}
PriorityType=priority/multifactor
PriorityWeightQOS=1000
PriorityWeightPartition=1000"""


def gres_conf(options: Options, folder: Folder) -> str:
    if not options.gpus:
        return "AutoDetect=off\n"
    lines, first = ["AutoDetect=off"], 0
    for name, number in (options.gpus_by_type or {"": options.gpus}).items():
        kind = f" Type={name}" if name else ""
        devices = folder.gpu(f"[{first}-{first + number - 1}]")
        lines.append(f"NodeName=n[1-{options.nodes}] Name=gpu{kind} File={devices}")
        first += number
    return "\n".join([*lines, ""])


def cgroup_conf() -> str:
    return """\
CgroupPlugin=cgroup/v1
ConstrainCores=no
ConstrainRAMSpace=no
ConstrainDevices=no
"""


def slurmdbd_conf(options: Options, folder: Folder, host: str) -> str:
    return f"""\
{plugin_settings(options.release)}AuthType=auth/munge
AuthInfo=socket={folder.munge_socket}
DbdAddr=127.0.0.1
DbdHost={host}
DbdPort={options.accounting_port}
SlurmUser=root
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
PidFile={folder.path}/run/slurmdbd.pid
LogFile={folder.log("slurmdbd")}
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={options.database_port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CommitDelay=1
"""


def fixed_part(text: str) -> str:
    """What slurmctld reads only when it starts."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(LIVE))


def expected(options: Options) -> list[str]:
    """What `scontrol show config` and `show partition` say when slurmctld has taken the options."""
    # without accounting, a newer Slurm says nothing of it
    storage = ["AccountingStorageType = accounting_storage/slurmdbd"] * options.accounting
    preemption = "qos" if options.preempt_by == "qos" else "partition_prio"
    parameters = "preempt_send_user_signal" if options.user_signal else "(null)"
    return [
        *storage,
        f"JobRequeue = {int(options.requeue)}",
        f"KillWait = {options.kill_wait} sec",
        f"MaxArraySize = {options.max_array_size}",
        f"PreemptType = preempt/{preemption}",
        f"SelectType = select/{options.select}",
        f"SlurmctldParameters = {parameters}",
        f"SlurmctldPort = {options.controller_port}",
        f"SlurmdTimeout = {options.slurmd_timeout} sec",
        f"GraceTime={options.grace} ",
    ]
