"""What runs a soak looks at."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from attrs import frozen

from launcher.experiment.experiment import read_experiment
from scripts.workloads.checkout import EXAMPLE
from trainers.config.run_config import RunConfig

MODULES = Path(__file__).resolve().parent
NUM_RANKS = (1, 2, 4, 8)
AUGMENTS: list[dict[str, Any]] = [
    {"kind": "simple"},
    {
        "kind": "elastic",
        "control_point_spacing": [16, 16, 16],
        "control_point_displacement_sigma": [20.0, 20.0, 20.0],
        "rotation_interval": [0.0, 1.5708],
        "subsample": 4,
    },
    {"kind": "intensity", "scale": [0.9, 1.1], "shift": [-0.1, 0.1]},
    {"kind": "gamma", "gamma_range": [0.8, 1.25]},
    {"kind": "noise"},
    {"kind": "intensity_scale_shift", "scale": 2.0, "shift": -1.0},
]
OPTIMIZERS: list[dict[str, Any]] = [
    {"kind": "radam"},
    {"kind": "adam"},
    {"kind": "adamw", "weight_decay": 0.1},
    {"kind": "sgd", "momentum": 0.9, "nesterov": True},
]
SCHEDULES: list[dict[str, Any]] = [
    {"kind": "constant"},
    {"kind": "linear_warm_up", "iterations": 10},
    {"kind": "cosine", "iterations": 24, "warm_up_iterations": 4},
    {"kind": "step", "every_iterations": 5, "step_factor": 0.5},
    {"kind": "polynomial", "iterations": 24, "power": 2.0},
]


@frozen
class Case:
    """A configuration, and on how many ranks it may be trained."""

    trainer: dict[str, Any]
    gain: float
    save_every: int
    reference_ranks: int
    """Of the run that is never stopped."""
    allowed_ranks: tuple[int, ...]

    @property
    def num_micro_batches(self) -> int:
        step = self.trainer
        default = 1 if step["exact_across_ranks"] else step["batch_size"] // self.reference_ranks
        return int(step["batch_size"] // (step["micro_batch_size"] or default))

    def __str__(self) -> str:
        step = self.trainer
        at_once = step["micro_batch_size"] or "default"
        words = [
            step["precision"] + (f" gain {self.gain:g}" if self.gain != 1 else ""),
            f"batch {step['batch_size']} by {at_once}",
            f"{step['optimizer']['kind']} {step['optimizer']['schedule']['kind']}",
            f"clip {step['max_gradient_norm']}",
            f"ema {step['ema_decay']}",
            f"save every {self.save_every}",
        ]
        return ", ".join(words)

    def config(self, num_iterations: int, pulse: Path) -> RunConfig:
        """
        Args:
            pulse: See `SoakedNet`.
        """
        overrides = {
            "num_iterations": num_iterations,
            "architecture": {
                "kind": "custom",
                "import_path": "soaked_net:SoakedNet",
                "arguments": {"gain": self.gain, "pulse": str(pulse)},
                "input_shape": [16, 16, 16],
            },
            **{f"trainer.{key}": value for key, value in self.trainer.items()},
            "trainer.snapshot_interval": 9,
            "checkpoint.every_iterations": self.save_every,
            "metrics.every_iterations": 1,
            "wandb.mode": "disabled",
            "resources.cpus": 1,
            "python_path": [str(MODULES)],
            "sweep": None,
        }
        texts = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
        return read_experiment(EXAMPLE, texts).runs[0]


def draw_case(draw: random.Random, *, ranks_change: bool) -> Case:
    """
    Args:
        ranks_change: Whether it is one that any number of ranks trains alike.
    """
    precision = draw.choice(("fp32", "bf16", "fp16"))
    if ranks_change:
        batch_size, micro_batch_size, ranks = draw.choice(
            ((8, 1, 8), (8, None, 8), (16, 2, 8), (12, 1, 4), (24, 2, 4), (8, 2, 4))
        )
        allowed = tuple(number for number in NUM_RANKS if number <= ranks)
    else:
        batch_size, micro_batch_size = draw.choice(((1, None), (4, None), (4, 2), (4, 1), (6, 3)))
        allowed = (draw.choice((1, 1, 2)) if batch_size == 4 else 1,)
    trainer = {
        "precision": precision,
        "batch_size": batch_size,
        "micro_batch_size": micro_batch_size,
        "max_gradient_norm": draw.choice((None, 0.05, 2.0)),
        "ema_decay": draw.choice((None, 0.5, 0.95)),
        "exact_across_ranks": ranks_change,
        "learning_rate": 1e-3,
        "optimizer": {**draw.choice(OPTIMIZERS), "schedule": draw.choice(SCHEDULES)},
        "augments": [each for each in AUGMENTS if draw.random() < 0.5],
    }
    return Case(
        trainer=trainer,
        gain=draw.choice((1.0, 5000.0)) if precision == "fp16" else 1.0,
        save_every=draw.randint(1, 9),
        reference_ranks=1 if ranks_change else allowed[0],
        allowed_ranks=allowed,
    )
