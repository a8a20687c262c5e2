"""What is shown of a Slurm cluster."""

import json
import re

from launcher.clusters.cluster_report import report_cluster, report_json, report_text
from launcher.clusters.cluster_search import open_cluster
from tests.launcher.clusters.site_files import read_site


def report(tmp_path, site, config=""):
    path = tmp_path / "mine.yaml"
    path.write_text(f"kind: slurm\ndescription: mine\n{config}")
    return report_cluster(open_cluster(str(path)), lambda: read_site(site))


def lines(tmp_path, site, config=""):
    text = report_text(report(tmp_path, site, config))
    return [re.sub(" {2,}", "  ", line) for line in text.splitlines()]


def test_limits_and_whose_they_are(tmp_path):
    """What a job may have on all its nodes together, and what that makes of a node."""
    shown = lines(tmp_path, "tres_limits")

    assert "gpus_per_node  3  Slurm: QOS normal (MaxTRESPerUser)" in shown
    assert "cpus  48  Slurm: QOS normal (MaxTRESPerJob)" in shown
    assert "gpu (default)  2  3  48  100 GB  no limit  0 s  0" in shown


def test_closed_partitions(tmp_path):
    """With why they are."""
    shown = lines(tmp_path, "closed_partitions")

    assert "partition labx takes jobs of account labx only, and this account is lab" in shown
    assert "labx (closed)  2  8  64  500 GB  no limit  0 s  0" in shown
    assert "gpu  1  4  32  250 GB  08:00:00  0 s  0" in shown


def test_a_partition_for_jobs_in_a_reservation(tmp_path):
    """It is open to a config that has one."""
    reserved = lines(tmp_path, "closed_partitions", "partition: course\nreservation: r\n")

    assert "course  2  8  64  500 GB  no limit  0 s  0" in reserved
    assert "course (closed)  2  8  64  500 GB  no limit  0 s  0" in lines(
        tmp_path, "closed_partitions"
    )


def test_nodes_that_take_no_jobs(tmp_path):
    """They may be reserved, not broken."""
    shown = lines(tmp_path, "maintenance")

    assert "gpu (default)  2, 2 down or reserved  8  64  500 GB  no limit  0 s  0" in shown


def test_warnings(tmp_path):
    """Of what the user may not expect."""
    assert any(
        line.startswith("jobs in partition low are sus") for line in lines(tmp_path, "suspending")
    )
    assert any("maintenance power" in line for line in lines(tmp_path, "maintenance"))


def test_memory_that_is_not_known(tmp_path):
    """It is no number, in JSON neither."""
    found = report(tmp_path, "no_memory")

    assert "memory_gb_per_node  -  Slurm: nodes of partition gpu" in lines(tmp_path, "no_memory")
    data = json.loads(json.dumps(report_json(found), allow_nan=False))
    assert data["site"]["partitions"][0]["groups"][0]["shape"]["memory_gb"] is None


def test_reservations_as_plain_data(tmp_path):
    """With the nodes of each."""
    data = json.loads(json.dumps(report_json(report(tmp_path, "maintenance")), allow_nan=False))

    course, _ = data["site"]["reservations"]
    (group,) = course["groups"]["gpu"]
    assert (course["name"], group["num_nodes"], group["num_unusable"]) == ("course", 2, 0)
    assert group["features"] == []
