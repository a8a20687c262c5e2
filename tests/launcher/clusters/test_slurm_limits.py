"""What limits a job besides its nodes."""

import attrs
import pytest

from launcher.clusters.slurm_limits import Limits, exceeded
from launcher.slurm.jobs import parse_details
from launcher.slurm.tres import Tres
from tests.launcher.clusters.site_files import read_site


def job(asked, partition="gpu", qos="normal"):
    details = parse_details(
        f"JobId=7 JobState=PENDING Partition={partition} Account=lab QOS={qos} TRES={asked}\n"
    )
    assert details is not None
    return details


@pytest.mark.parametrize(
    ("asked", "sentences"),
    [
        ("cpu=4,mem=8G,node=1,gres/gpu=3", []),
        (
            "cpu=50,mem=8G,node=1,gres/gpu=4",
            [
                "it asks for 4 GPUs, and QOS normal (MaxTRESPerUser) gives a job at most 3",
                "it asks for 50 cores, and QOS normal (MaxTRESPerJob) gives a job at most 48",
            ],
        ),
        (
            "mem=200G",
            [
                "it asks for 200 GB of memory, and QOS normal (MaxTRESPerJob) gives a job at most "
                "100"
            ],
        ),
    ],
)
def test_a_job_that_can_never_start(asked, sentences):
    """It asks for more than a limit gives, also one for all jobs of its user together."""
    assert exceeded(read_site("tres_limits"), job(asked)) == sentences


def test_a_job_that_can_start_in_one_of_its_partitions():
    """Then it only has to wait; nothing is known of one that is not there any more."""
    site = read_site("tres_limits")
    (gpu,) = site.partitions
    site = attrs.evolve(site, partitions=(gpu, attrs.evolve(gpu, name="other", qos="wide")))
    wide = attrs.evolve(site.qos("part"), name="wide", tres={"MaxTRESPerUser": Tres(gpus=8)})
    site = attrs.evolve(site, qoses=(*site.qoses, wide))

    assert exceeded(site, job("gres/gpu=8", "gpu"))
    assert exceeded(site, job("gres/gpu=8", "other,gpu")) == []
    assert exceeded(site, job("gres/gpu=9", "other,gpu"))
    assert exceeded(site, job("gres/gpu=9", "gone")) == []


def test_limits_of_all_accounts_above():
    """Slurm asks each of them; a QOS that limits the same stands for them all."""
    site = read_site("account_limits")
    few = {"GrpTRES": Tres(gpus=4, nodes=1)}
    own = tuple(attrs.evolve(each, tres=few) for each in site.associations)
    site = attrs.evolve(site, associations=own)
    qos = attrs.evolve(site.qos("normal"), tres={"GrpTRES": Tres(gpus=6)})
    (gpu,) = site.partitions

    of_accounts = Limits.of(site, gpu, None, None).of_job()
    of_qos = Limits.of(attrs.evolve(site, qoses=(qos,)), gpu, None, None).of_job()

    assert (of_accounts.gpus, of_accounts.sources["gpus"]) == (2, "account group (GrpTRES)")
    assert (of_accounts.cpus, of_accounts.nodes, of_accounts.all_jobs["gpus"]) == (40, 1, 2)
    assert (of_qos.gpus, of_qos.sources["gpus"]) == (6, "QOS normal (GrpTRES)")


def test_limits_on_a_type_of_gpus():
    """They hold for jobs that ask for that type."""
    site = read_site("tres_limits")
    (gpu,) = site.partitions
    few = Tres(gpus=3, gpus_by_type={"h100": 1})
    qos = attrs.evolve(site.qos("normal"), tres={"MaxTRESPerJob": few})
    site = attrs.evolve(site, qoses=(qos,))

    most = {name: Limits.of(site, gpu, None, None, name).of_job().gpus for name in ("h100", "a100")}

    assert most == {"h100": 1, "a100": 3}
