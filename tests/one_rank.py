"""Say as JSON what this rank finds in its group: `one_rank.py RUN_FOLDER [RANK_THAT_FAILS]`."""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from trainers.distributed.process_group import open_process_group
from trainers.run.run_folder import RunFolder

folder, failing = RunFolder(Path(sys.argv[1])), [int(each) for each in sys.argv[2:]]
with open_process_group(folder, 3, lambda: False) as group:
    if group.rank in failing:
        raise ValueError("something is wrong here")
    found = {
        "parts": [*group.part_of(2 * group.size)],
        "stops": [group.agree(False), group.agree(group.rank == 1)],
        "total": group.total(np.array([[group.rank, 1]])).tolist(),
        "mean": group.mean(float(group.rank)),
        "decided": group.decided_by_first(10 + group.rank),
    }
    if group.size == 4:
        term = torch.tensor([1e8, 1.0, -1e8, 1.0][group.rank])
        group.add_pairwise(term)
        found["pairwise"] = term.item()
    group.wait_for_all()
sys.stdout.write(json.dumps(found))
