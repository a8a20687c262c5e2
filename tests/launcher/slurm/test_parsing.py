import math

import attrs
import pytest

from launcher.packing.demand import NodeShape
from launcher.slurm.jobs import QUEUE_COLUMNS, parse_details, parse_queue, parse_records
from launcher.slurm.parse_site import parse_site
from launcher.slurm.parsing import (
    expand_array,
    expand_hosts,
    read_moment,
    read_number,
    read_seconds,
)
from launcher.slurm.tres import Tres, read_tres
from launcher.tables import show_seconds

CONFIG = """\
Configuration data as of 2026-11-25T01:14:39
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = sandbox
JobRequeue              = 1
KillWait                = 30 sec
MaxArraySize            = 1001
PreemptMode             = REQUEUE
PreemptType             = preempt/partition_prio
SchedulerParameters     = bf_interval=2,bf_continue
SlurmctldParameters     = preempt_send_user_signal,idle_on_node_suspend
SLURM_CONF              = /etc/slurm/slurm.conf
SLURM_VERSION           = 22.05.8

Slurmctld(primary) at vm is UP
"""
PARTITIONS = """\
PartitionName=preemptible AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL \
Default=YES QoS=N/A DefaultTime=01:00:00 DisableRootJobs=NO ExclusiveUser=NO GraceTime=8 Hidden=NO \
MaxNodes=UNLIMITED MaxTime=UNLIMITED MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=n[1-4] \
PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE \
PreemptMode=REQUEUE State=UP TotalCPUs=64 TotalNodes=4 SelectTypeParameters=NONE \
JobDefaults=(null) DefMemPerCPU=100 MaxMemPerNode=UNLIMITED \
TRES=cpu=64,mem=250G,node=4,billing=64,gres/gpu=16
PartitionName=priority AllowGroups=ALL Default=NO QoS=part DefaultTime=NONE GraceTime=0 \
MaxNodes=2 MaxTime=2-00:00:00 MaxCPUsPerNode=8 MaxCPUsPerSocket=UNLIMITED Nodes=n[1-3] \
PriorityTier=10 PreemptMode=OFF Hidden=YES State=DOWN MaxMemPerNode=32000
"""
NODES = """\
NodeName=n1 Arch=x86_64 CoresPerSocket=1  CPUAlloc=0 CPUEfctv=16 CPUTot=16 CPULoad=0.04 \
AvailableFeatures=(null) ActiveFeatures=(null) Gres=gpu:4 NodeAddr=127.0.0.1 NodeHostName=vm \
Port=16901 Version=22.05.8 OS=Linux 6.18.44 #1 SMP PREEMPT_DYNAMIC @0  RealMemory=64000 AllocMem=0 \
FreeMem=23189 Sockets=16 Boards=1 State=IDLE ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A \
MCS_label=N/A Partitions=preemptible,nograce,priority  BootTime=2026-11-25T00:57:55 \
CfgTRES=cpu=16,mem=62.50G,billing=16,gres/gpu=4 AllocTRES= CapWatts=n/a
NodeName=n2 CPUEfctv=16 CPUTot=16 ActiveFeatures=(null) Gres=gpu:4 RealMemory=64000 \
State=DOWN*+DRAIN Partitions=preemptible,priority Reason=Not responding [slurm@2026-11-25T01:00:00]
NodeName=n3 CPUEfctv=16 CPUTot=16 ActiveFeatures=(null) Gres=gpu:4 RealMemory=64000 \
State=IDLE+CLOUD+POWERED_DOWN Partitions=preemptible,priority
NodeName=n4 CPUEfctv=94 CPUTot=96 ActiveFeatures=h100,ib Gres=gpu:h100:8(S:0-1) RealMemory=512000 \
MemSpecLimit=2048 State=MIXED Partitions=preemptible
"""
QOSES = """\
normal|00:00:08||requeue||||||gres/gpu=4,node=2|||
low|00:00:30||requeue|DenyOnLimit,OverPartQOS|1-00:00:00|10|cpu=64,mem=250G||gres/gpu:a100=2|||
high|00:00:00|low,normal|cluster|||||||||
"""
ASSOCIATIONS = """\
lab||high,low|low||200|||gres/gpu=8
lab|priority|high|high|12:00:00|5|||
"""
ACCOUNTS = "root|||\nfaculty||root|gres/gpu=16\nlab||faculty|\nlab|ada||gres/gpu=8\n"


def site(**changes):
    said = {"config": CONFIG, "partitions": PARTITIONS, "nodes": NODES, "qoses": QOSES}
    said |= {"associations": ASSOCIATIONS, "accounts": ACCOUNTS, "default_account": "lab\n"}
    return parse_site(**(said | changes))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2-03:04:05", 183845),
        ("01:00:00", 3600),
        ("9:59", 599),
        ("0:00", 0),
        ("UNLIMITED", None),
        ("NONE", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_lengths_of_time(text, seconds):
    """Days, hours and minutes as Slurm writes them; a word is no limit."""
    assert read_seconds(text) == seconds


def test_lengths_of_time_are_written_as_slurm_does():
    """With days only if there are some."""
    assert show_seconds(599) == "00:09:59"
    assert show_seconds(183845) == "2-03:04:05"


@pytest.mark.parametrize("word", ["Unknown", "None", "N/A", "(null)", ""])
def test_words_that_stand_for_nothing(word):
    """They are no number, no moment, and no host."""
    assert read_number(word) is None
    assert read_moment(word) is None
    assert expand_hosts(word) == []


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("12", ["12"]),
        ("12_3", ["12_3"]),
        ("12_[0-4,7%2]", ["12_0", "12_1", "12_2", "12_3", "12_4", "12_7"]),
        ("12_[5]", ["12_5"]),
        ("12_[0-8:4]", ["12_0", "12_4", "12_8"]),
    ],
)
def test_arrays_are_expanded(text, ids):
    """Task by task, without the throttle."""
    assert expand_array(text) == ids


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("n1", ["n1"]),
        ("n[1-3,5],gpu-a[07-08]", ["n1", "n2", "n3", "n5", "gpu-a07", "gpu-a08"]),
        ("r[1-2]n[1-2]-ib,x", ["r1n1-ib", "r1n2-ib", "r2n1-ib", "r2n2-ib", "x"]),
    ],
)
def test_hosts_are_expanded(text, hosts):
    """Zeros in front stay; several brackets are taken each with each."""
    assert expand_hosts(text) == hosts


def test_facts_about_the_whole_cluster():
    """From `scontrol show config`."""
    found = site()

    assert (found.version, found.cluster_name, found.max_array_size) == ("22.05.8", "sandbox", 1001)
    assert (found.kill_wait_s, found.preempt_by) == (30, "partition_prio")
    assert found.accounting and found.send_user_signal and found.job_requeue


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("AccountingStorageType = accounting_storage/none", {"accounting": False}),
        ("AccountingStorageType = (null)", {"accounting": False}),
        ("PreemptType = preempt/qos", {"preempt_by": "qos"}),
        ("PreemptType = preempt/none", {"preempt_by": "none"}),
        ("PreemptType = (null)", {"preempt_by": "none"}),
        ("SlurmctldParameters = (null)", {"send_user_signal": False}),
        ("JobRequeue = 0", {"job_requeue": False}),
        ("SchedulerParameters = bf_continue,max_array_tasks=500", {"max_array_size": 500}),
        ("MaxArraySize = 0", {"max_array_size": 1}),
        ("SelectType = select/cons_tres", {"takes_gpu_options": True}),
        ("SelectType = select/cons_res", {"takes_gpu_options": False}),
    ],
)
def test_other_answers_about_the_whole_cluster(line, fact):
    """Older and newer versions of Slurm, and other sites, say it otherwise."""
    ((name, value),) = fact.items()

    assert getattr(site(config=f"{CONFIG}{line}\n"), name) == value


def test_nodes_that_are_alike_make_a_group():
    """Nodes that take no jobs now are counted apart; those that are off to save power are not."""
    four, eight = site().partition("preemptible").groups

    assert four.shape == NodeShape(gpus=4, cpus=16, memory_gb=62.5)
    assert (four.num_nodes, four.num_unusable, four.features) == (3, 1, frozenset())
    assert eight.shape == NodeShape(gpus=8, cpus=94, memory_gb=498.0)
    assert (eight.num_nodes, eight.num_unusable, eight.features) == (1, 0, {"h100", "ib"})


def test_nodes_with_gpus_of_several_types_are_in_a_group_for_each():
    """A job gets GPUs of one type, beside the same CPUs and memory; sockets do not matter."""
    nodes = (
        "NodeName=n1 CPUTot=32 RealMemory=64000 Gres=gpu:a100:2(S:0-1),gpu:a100_1g.5gb:14(S:1) "
        "State=IDLE Partitions=preemptible\n"
        "NodeName=n2 CPUTot=32 RealMemory=64000 Gres=gpu:a100:2(S:0),gpu:a100_1g.5gb:14(S:1) "
        "State=DOWN Partitions=preemptible\n"
    )

    found = site(nodes=nodes)
    groups = found.partition("preemptible").groups

    assert {each.gpu_type: each.shape for each in groups} == {
        "a100": NodeShape(gpus=2, cpus=32, memory_gb=62.5),
        "a100_1g.5gb": NodeShape(gpus=14, cpus=32, memory_gb=62.5),
    }
    assert {(each.num_nodes, each.num_unusable) for each in groups} == {(2, 1)}
    assert found.partition("preemptible").gpu_types == ("a100", "a100_1g.5gb")
    assert found.knows_gpus
    assert not site(nodes=nodes.replace("gpu:", "shard:")).knows_gpus


def test_nodes_without_sizes():
    """Slurm gives nodes whose memory nobody has configured one MB: it is not known."""
    nodes = "NodeName=n1 CPUTot=4 RealMemory=1 MemSpecLimit=1 Gres=(null) Partitions=preemptible\n"

    (group,) = site(nodes=nodes).partition("preemptible").groups

    assert group.shape == NodeShape(gpus=0, cpus=4, memory_gb=math.inf)
    assert group.num_unusable == 1


def test_limits_of_partitions():
    """UNLIMITED is None."""
    preemptible, priority = site().partitions

    assert (preemptible.is_default, preemptible.is_up, preemptible.grace_s) == (True, True, 8)
    assert (preemptible.max_time_s, preemptible.max_nodes, preemptible.qos) == (None, None, None)
    assert (preemptible.default_time_s, preemptible.preempt_mode) == (3600, "REQUEUE")
    assert (preemptible.is_hidden, priority.is_hidden) == (False, True)
    assert (priority.is_default, priority.is_up, priority.max_time_s) == (False, False, 172800)
    assert (priority.max_nodes, priority.qos, priority.priority_tier) == (2, "part", 10)


def test_a_partition_may_give_less_than_its_nodes_have():
    """MaxCPUsPerNode and MaxMemPerNode."""
    (group,) = site().partition("priority").groups

    assert group.shape == NodeShape(gpus=4, cpus=8, memory_gb=31.25)


def test_qos_and_accounts():
    """An association for a partition counts there, before the one for all."""
    found = site()

    assert found.qos("low").grace_s == 30
    assert (found.qos("low").max_time_s, found.qos("low").max_submit_jobs) == (86400, 10)
    assert found.qos("high").preempts == ("low", "normal")
    assert found.qos("nosuch") is None
    everywhere = found.association(account=None, partition="preemptible")
    assert (found.default_account, everywhere.default_qos) == ("lab", "low")
    assert everywhere.max_submit_jobs == 200
    assert found.association(account=None, partition="priority").max_submit_jobs == 5
    assert found.association(account="other", partition="priority") is None


def test_the_qos_of_a_job_that_asks_for_none():
    """The account's default one, the only one that it may have, or `normal`, as Slurm decides."""
    found = site()
    lab = found.association(account="lab", partition="x")
    several = attrs.evolve(lab, default_qos=None)
    one = attrs.evolve(lab, default_qos=None, qos=("high",))

    names = map(found.qos_without_request, (lab, several, one, None))

    assert list(names) == ["low", "normal", "high", "normal"]


def test_limits_on_resources():
    """By Slurm's names for them, with types of GPUs apart."""
    found = site()

    assert found.qos("normal").tres == {"MaxTRESPerUser": Tres(gpus=4, nodes=2)}
    assert found.qos("low").tres == {
        "MaxTRESPerJob": Tres(cpus=64, memory_gb=250),
        "MaxTRESPerUser": Tres(gpus_by_type={"a100": 2}),
    }
    assert found.qos("low").flags == {"DenyOnLimit", "OverPartQOS"}
    assert found.association(account="lab", partition="x").tres == {"GrpTRES": Tres(gpus=8)}
    assert [each.name for each in found.accounts_above("lab")] == ["faculty", "root"]
    assert next(found.accounts_above("lab")).tres == {"GrpTRES": Tres(gpus=16)}


@pytest.mark.parametrize(
    ("text", "memory_gb"),
    [("mem=250G", 250), ("mem=62.50G", 62.5), ("mem=512M", 0.5), ("mem=2048", 2), ("mem=1T", 1024)],
)
def test_amounts_of_memory(text, memory_gb):
    """With and without a unit."""
    assert read_tres(text).memory_gb == memory_gb


def test_limits_that_are_not_enforced():
    """They are none."""
    found = site(config=f"{CONFIG}AccountingStorageEnforce = associations,qos\n")

    assert (found.qos("low").tres, found.qos("low").max_submit_jobs) == ({}, None)
    association = found.association(account=None, partition="preemptible")
    assert (association.max_submit_jobs, found.qos("low").grace_s) == (None, 30)
    assert found.enforces_associations and not site().enforces_associations


def test_empty_answers():
    """Nothing is known, and nothing breaks."""
    found = parse_site(config="", partitions="", nodes="")

    assert (found.partitions, found.qoses, found.associations) == ((), (), ())
    assert (found.accounting, found.default_account) == (False, None)
    assert found.qos_without_request(None) is None


def queue_line(*cells):
    return "".join(
        cell.ljust(width) for cell, width in zip(cells, QUEUE_COLUMNS.values(), strict=True)
    )


def test_queue():
    """Waiting tasks of an array may share a line; a job that runs has nodes and time left."""
    start = "2026-11-25T01:14:40"
    text = "\n".join(
        [
            queue_line(
                *("3_[2-3%2]", "PENDING", "0", "5:00", "N/A", "gpu", ""),
                *("JobArrayTaskLimit", "lab", "low"),
            ),
            queue_line(
                "3_0", "RUNNING", "2", "1-00:00:00", start, "gpu", "n[1-2]", "None", "lab", ""
            ),
            "",
        ]
    )

    jobs = parse_queue(text)

    assert list(jobs) == ["3_2", "3_3", "3_0"]
    waits, runs = jobs["3_2"], jobs["3_0"]
    assert (waits.state, waits.reason, waits.nodes) == ("PENDING", "JobArrayTaskLimit", ())
    assert (waits.time_left_s, waits.start_estimate, waits.restarts) == (300, None, 0)
    assert (runs.state, runs.reason, runs.nodes) == ("RUNNING", None, ("n1", "n2"))
    assert (runs.time_left_s, runs.restarts, runs.partition) == (86400, 2, "gpu")
    assert runs.start_estimate == read_moment(start)
    assert (waits.account, waits.qos, runs.qos) == ("lab", "low", None)
    assert parse_queue("") == {}


def test_records_of_attempts():
    """Every attempt, oldest first; the state is one word; a task that never ran has no nodes."""
    start, end = "2026-11-25T01:14:40", "2026-11-25T01:14:42"
    text = f"""\
4|CANCELLED by 0|0:0|{start}|{end}|n1
3_0|REQUEUED|0:0|{start}|{end}|n1
3_0|FAILED|1:9|{start}|{end}|n[1-2]
3_[3-4%2]|PENDING|0:0|Unknown|Unknown|None assigned
5|RUNN
"""

    records = parse_records(text)

    assert list(records) == ["4", "3_0", "3_3", "3_4"]
    assert records["4"][0].state == "CANCELLED"
    first, second = records["3_0"]
    assert (first.state, first.end) == ("REQUEUED", read_moment(end))
    assert (second.state, second.exit_code, second.signal) == ("FAILED", 1, 9)
    assert second.nodes == ("n1", "n2")
    assert (records["3_4"][0].nodes, records["3_4"][0].start) == ((), None)
    assert parse_records("") == {}


def test_details_of_a_job():
    """A job that gives way says since when."""
    text = (
        "JobId=7 ArrayJobId=3 ArrayTaskId=1 JobName=x Account=lab QOS=normal Partition=gpu "
        "JobState=RUNNING Reason=None "
        "Dependency=(null) Requeue=1 Restarts=2 ExitCode=0:0 StartTime=2026-11-25T01:14:40 "
        "EndTime=2026-11-25T01:19:40 PreemptEligibleTime=2026-11-25T01:14:40 "
        "PreemptTime=2026-11-25T01:15:00 NodeList=n[1-2] BatchHost=n1 NumNodes=1 "
        "TRES=cpu=8,mem=4G,node=1,billing=8,gres/gpu=4 Command=/a b\n"
    )

    details = parse_details(text)

    assert (details.state, details.reason, details.restarts) == ("RUNNING", None, 2)
    assert details.may_requeue
    assert details.preempt_time == read_moment("2026-11-25T01:15:00")
    assert details.end_time == read_moment("2026-11-25T01:19:40")
    assert details.nodes == ("n1", "n2")
    assert (details.partition, details.account, details.qos) == ("gpu", "lab", "normal")
    assert details.asked == Tres(gpus=4, cpus=8, memory_gb=4, nodes=1)


@pytest.mark.parametrize("name", ["TRES", "ReqTRES"])
def test_what_a_job_asks_for(name):
    """Slurm has called it ReqTRES since 23.02."""
    details = parse_details(f"JobId=7 JobState=PENDING {name}=cpu=2,mem=1G,node=1,gres/gpu=3\n")

    assert (details.asked.gpus, details.asked.cpus) == (3, 2)


def test_details_that_are_not_there_yet():
    """A job that waits has neither nodes nor times."""
    details = parse_details(
        "JobId=3 JobState=PENDING Reason=BeginTime Requeue=0 StartTime=Unknown EndTime=Unknown "
        "PreemptTime=None NodeList=\n"
    )

    assert (details.reason, details.may_requeue) == ("BeginTime", False)
    assert (details.start_time, details.end_time, details.preempt_time) == (None, None, None)
    assert details.nodes == ()
    assert parse_details("") is None
    assert parse_details("No jobs in the system\n") is None
