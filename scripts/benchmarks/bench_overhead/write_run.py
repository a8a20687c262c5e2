"""Write the config of a run, as the checkout has it that this process imports.

write_run.py EXPERIMENT RUN_FOLDER [KEY=VALUE …]
"""

from __future__ import annotations

import sys
from pathlib import Path

from launcher.experiment.experiment import read_experiment
from trainers.config.config_io import write_run_config
from trainers.run.run_folder import RunFolder

if __name__ == "__main__":
    experiment, folder, *overrides = sys.argv[1:]
    run = RunFolder(Path(folder))
    run.logs.mkdir(parents=True)
    write_run_config(run.config, read_experiment(Path(experiment), overrides).runs[0])
