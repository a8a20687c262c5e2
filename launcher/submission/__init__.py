"""From an experiment to jobs: plan, write run folders, submit, resubmit, cancel, report."""
