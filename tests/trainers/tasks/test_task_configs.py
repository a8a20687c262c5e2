from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from trainers.config.kinds import TASKS
from trainers.tasks import AffinitiesTaskConfig, DistanceTaskConfig, OneHotTaskConfig, TaskConfig


@pytest.mark.parametrize(
    ("config", "num_channels"),
    [
        (AffinitiesTaskConfig(neighborhood=((1, 0), (0, 1), (0, -9))), 3),
        (OneHotTaskConfig(classes=("no", "yes")), 2),
        (DistanceTaskConfig(scale_nm=10.0), 1),
    ],
)
def test_channels(config: TaskConfig, num_channels: int) -> None:
    """Config, predictor, target and mask agree on the number of channels."""
    predictor = config.build().predictor
    gt = np.ones((41, 41), np.uint64)

    assert config.num_channels == num_channels
    assert predictor.num_channels == num_channels
    assert len(predictor.create_target(gt, (4.0, 4.0))) == num_channels
    assert len(predictor.create_mask(gt, gt, (4.0, 4.0))) == num_channels


def test_kinds() -> None:
    """These are the names that experiment files use."""
    assert list(TASKS) == ["affinities", "one_hot", "distance"]


@pytest.mark.parametrize(
    "config",
    [
        AffinitiesTaskConfig(neighborhood=((1, 0),)),
        OneHotTaskConfig(classes=("no", "yes")),
        DistanceTaskConfig(scale_nm=10.0),
    ],
)
def test_worker_needs_no_torch(config: TaskConfig) -> None:
    """A process that unpickles a predictor and makes a target, mask and weight imports no torch."""
    code = (
        "import pickle, sys, numpy as np\n"
        "predictor = pickle.load(sys.stdin.buffer)\n"
        "gt = np.ones((41, 41), np.uint64)\n"
        "target = predictor.create_target(gt, (4.0, 4.0))[None]\n"
        "mask = predictor.create_mask(gt, gt, (4.0, 4.0))[None]\n"
        "predictor.create_weight(gt[None], target, mask)\n"
        "assert 'torch' not in sys.modules\n"
    )

    predictor = pickle.dumps(config.build().predictor)

    subprocess.run([sys.executable, "-c", code], input=predictor, check=True)
