"""Say as JSON what this rank finds in its group: `one_rank.py RUN_FOLDER [RANK_THAT_FAILS]`."""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from trainers.distributed.open_process_group import open_process_group
from trainers.run.run_folder import RunFolder

folder, failing = RunFolder(Path(sys.argv[1])), [int(each) for each in sys.argv[2:]]
with open_process_group(folder, 3, lambda: False) as group:
    if group.rank in failing:
        raise ValueError("something is wrong here")
    found = {
        "parts": [*group.local_slice(2 * group.world_size)],
        "stops": [group.any_rank(False), group.any_rank(group.rank == 1)],
        "total": group.all_reduce_sum(np.array([[group.rank, 1]])).tolist(),
        "mean": group.all_reduce_mean(float(group.rank)),
        "decided": group.broadcast_from_rank0(10 + group.rank),
    }
    if group.world_size == 4:
        term = torch.tensor([1e8, 1.0, -1e8, 1.0][group.rank])
        group.tree_all_reduce_(term)
        found["pairwise"] = term.item()
    group.barrier()
sys.stdout.write(json.dumps(found))
