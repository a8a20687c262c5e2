"""What Slurm's commands are asked, and how their answers are understood."""

from launcher.slurm import client


def test_the_pending_tasks_of_an_array_share_a_line(slurm):
    """However long their list is: a line for each of thousands would be megabytes."""
    tasks = ",".join(str(number) for number in range(0, 200, 2))
    (slurm.folder / "squeue.txt").write_text(f"12_[{tasks}%4] /a b/one.sh\n12_201 /a b/one.sh\n")

    scripts = client.job_scripts()

    numbers = [*range(0, 200, 2), 201]
    assert scripts == {f"12_{number}": "/a b/one.sh" for number in numbers}
    (call,) = slurm.calls("squeue")
    assert "--array" not in call


def test_a_job_that_is_no_array_has_a_line_of_its_own(slurm):
    """A pack that is submitted again is one."""
    (slurm.folder / "squeue.txt").write_text("13 /a/two.sh\n")

    assert client.job_scripts() == {"13": "/a/two.sh"}
