"""The config of a run: everything that is known about it before it starts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, Literal, get_args

from attrs import Attribute, Factory, field, frozen
from attrs.validators import ge, gt, in_, le, min_len, optional

from trainers.architectures.architecture_config import ArchitectureConfig
from trainers.config.artifact_address import WeightsPath
from trainers.config.checkpoint_config import CheckpointConfig
from trainers.config.converter import to_plain
from trainers.datasets.dataset_config import DatasetConfig
from trainers.tasks.task_configs import TaskConfig
from trainers.trainer_config import TrainerConfig

WandbMode = Literal["online", "offline", "disabled"]
WandbUpload = Literal["best", "last", "all"]

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,199}")
_TIME = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)")
_MAX_TAG = 64
"""W&B refuses longer ones."""
_NO_PART_OF_RESULT = (
    "name",
    "num_data_fetchers",
    "reading",
    "snapshot_interval",
    "verify_every",
    # Influences weights only after a NaN or an infinity, like a change of the run's length: what
    # was trained before is the same, and the run is to continue from there with another policy.
    "non_finite",
)
"""Keys of a trainer that do not influence the weights that it has trained so far."""


_NEW_ARRAY_KEYS = ("scale", "axes", "time", "channel", "offset_is")
"""Keys of arrays that earlier runs do not have: without a value they are not in fingerprints."""


def _without_new_keys(dataset: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {
            key: value[key] for key in value if key not in _NEW_ARRAY_KEYS or value[key] is not None
        }
        if isinstance(value, dict)
        else value
        for name, value in dataset.items()
    }


def _folder_name(_: object, __: Attribute[str], name: str) -> None:
    if not _FOLDER_NAME.fullmatch(name):
        raise ValueError(
            "must be the name of a folder: at most 200 letters, digits and . _ + = -, "
            f"a letter or digit first; found {name!r}"
        )


def _time(_: object, __: Attribute[str], text: str) -> None:
    if not _TIME.fullmatch(text) or not re.search("[1-9]", text):
        raise ValueError(
            f"must be a time above 0 as HH:MM:SS or days-HH:MM:SS, such as 02:00:00; found {text!r}"
        )


def _share_or_whole(_: object, __: Attribute[float], gpus: float) -> None:
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(
            f"must be a whole number, a share of one GPU between 0 and 1, or 0; found {gpus:g}"
        )


def _none_or_count(_: object, __: Attribute[Any], number: int | None) -> None:
    if number is not None and number < 0:
        raise ValueError(f"must be 0 or more, or null for any number of times; found {number}")


def _tags(_: object, __: Attribute[Any], tags: Sequence[str]) -> None:
    for tag in tags:
        if not 1 <= len(tag) <= _MAX_TAG:
            raise ValueError(f"must have 1 to {_MAX_TAG} characters each; found {tag!r}")


def _patterns_below(_: object, __: Attribute[Any], patterns: Sequence[str]) -> None:
    for pattern in patterns:
        parts = PurePath(pattern).parts
        if not parts or pattern.startswith(("/", "~")) or ".." in parts:
            raise ValueError(
                "must be patterns of files below the folders of python_path, such as "
                f"`nets/*.npy`, without / at the start and without `..`; found {pattern!r}"
            )


def _distinct_names(_: object, __: Attribute[Any], datasets: Sequence[DatasetConfig]) -> None:
    names = [dataset.name for dataset in datasets]
    if len(set(names)) != len(names):
        raise ValueError(f"must have different names; found {', '.join(names)}")


@frozen(kw_only=True)
class MetricsConfig:
    """Which iterations are written to metrics.jsonl and W&B."""

    every_iterations: int = field(default=1, validator=ge(1))
    """A row of metrics for each multiple of it, with the means over the iterations since the row
    before."""


@frozen(kw_only=True)
class WandbConfig:
    """The W&B project of the run; `disabled` by default."""

    project: str | None = field(default=None, validator=optional(min_len(1)))
    """Required unless the mode is `disabled`."""
    entity: str | None = field(default=None, validator=optional(min_len(1)))
    """The user or team that owns the project; None: the default one of the account."""
    mode: WandbMode = field(default="disabled", validator=in_(get_args(WandbMode)))
    """`offline` writes files for `wandb sync`."""
    tags: tuple[str, ...] = field(default=(), validator=_tags)
    """Added to those that the run has in the browser."""
    notes: str | None = field(default=None, validator=optional(min_len(1)))
    """Shown with the run, unless it has notes from the browser."""
    upload: WandbUpload | None = field(default=None, validator=optional(in_(get_args(WandbUpload))))
    """Which checkpoints W&B gets the files of, `all` for best and last; None: only where they lie.
    """

    dashboard: bool = True
    """Whether the first submission makes a dashboard in the project; only if the mode is `online`.
    """

    def __attrs_post_init__(self) -> None:
        if self.mode != "disabled" and self.project is None:
            raise ValueError(f"mode {self.mode!r} needs a project; add one, or set mode: disabled")


@frozen(kw_only=True)
class ResourcesConfig:
    """What a run requests on each of its nodes."""

    gpus: float = field(default=1.0, validator=[ge(0), _share_or_whole])
    """A whole number, a share of one GPU such as 0.5, or 0."""
    nodes: int = field(default=1, validator=ge(1))
    """Each of them gets as many GPUs, cores and GB."""
    cpus: int = field(default=2, validator=ge(1))
    """Cores, which the ranks of a node share."""
    memory_gb: float = field(default=8.0, validator=gt(0))
    """Main memory."""
    time: str = field(default="24:00:00", validator=_time)
    """Time limit, as HH:MM:SS or days-HH:MM:SS."""

    def __attrs_post_init__(self) -> None:
        if self.nodes > 1 and self.gpus != int(self.gpus):
            raise ValueError(
                f"gpus: found {self.gpus:g} on each of {self.nodes} nodes; must be a whole number, "
                "or 0 for one process on each, if there are several nodes"
            )

    @property
    def ranks_per_node(self) -> int:
        """Ranks on each node: one per GPU, at least one."""
        return max(1, int(self.gpus))

    @property
    def num_ranks(self) -> int:
        """The world size of the run."""
        return self.nodes * self.ranks_per_node

    @property
    def time_s(self) -> int:
        """The time limit in seconds."""
        match = _TIME.fullmatch(self.time)
        assert match is not None
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((24 * days + hours) * 60 + minutes) * 60 + seconds


@frozen(kw_only=True)
class RetriesConfig:
    """Retry budgets: how often a run is requeued automatically after an attempt, by its cause.

    None stands for any number of times.
    """

    preempted: int | None = field(default=None, validator=_none_or_count)
    """After preemptions."""
    time_limit: int | None = field(default=None, validator=_none_or_count)
    """After a job reached its time limit."""
    node_failure: int | None = field(default=10, validator=_none_or_count)
    """After losses of a node, and faults of its GPUs."""
    out_of_memory: int | None = field(default=1, validator=_none_or_count)
    """After an attempt ran out of memory."""
    unavailable: int | None = field(default=50, validator=_none_or_count)
    """After its data or its disk stayed away for longer than it waits."""
    hang: int | None = field(default=3, validator=_none_or_count)
    """After the watchdog ended an attempt that made no progress."""
    non_finite: int | None = field(default=0, validator=_none_or_count)
    """After a NaN or an infinity ended it: an exact run meets it again."""
    crashed: int | None = field(default=2, validator=_none_or_count)
    """After any other end that was not asked for."""
    without_progress: int = field(default=10, validator=ge(1))
    """Attempts in a row, of any cause, without a newer checkpoint after which the run fails."""


@frozen(kw_only=True)
class RunConfig:
    """The full description of one run; its paths are absolute."""

    name: str = field(validator=_folder_name)
    """Also the name of the run's folder."""
    experiment: str = field(
        default=Factory(lambda self: self.name, takes_self=True), validator=_folder_name
    )
    """The experiment that the run belongs to; by default the run's own name."""
    seed: int = field(default=0, validator=[ge(0), le(2**63 - 1)])
    """Of weights, samples and augments; the same seed gives the same run."""
    num_iterations: int = field(validator=ge(1))
    """Optimizer steps in all; may be raised later to extend a run."""
    datasets: tuple[DatasetConfig, ...] = field(validator=[min_len(1), _distinct_names])
    """The volumes that samples are drawn from."""
    task: TaskConfig
    """What the network is to predict."""
    architecture: ArchitectureConfig
    """The network."""
    trainer: TrainerConfig
    """How the network is trained."""
    init_from: WeightsPath | None = None
    """Fine-tuning: the run, or one of its checkpoints, whose weights this run starts with; or a
    checkpoint at W&B, as wandb://ENTITY/PROJECT/ARTIFACT:ALIAS."""
    deterministic: bool = True
    """Whether torch uses deterministic implementations, wherever it has them: reproducible runs."""
    checkpoint: CheckpointConfig = field(factory=CheckpointConfig)
    """When the run is saved, and which checkpoints stay."""
    metrics: MetricsConfig = field(factory=MetricsConfig)
    """Which iterations are reported."""
    wandb: WandbConfig = field(factory=WandbConfig)
    """Whether and where W&B shows the run."""
    resources: ResourcesConfig = field(factory=ResourcesConfig)
    """What the run asks for on each of its nodes."""
    retries: RetriesConfig = field(factory=RetriesConfig)
    """How often the run is tried again, by cause."""
    python_path: tuple[Path, ...] = ()
    """Folders with the user's own modules."""
    code_include: tuple[str, ...] = field(default=(), validator=_patterns_below)
    """Patterns of files that a submission to Slurm copies beside modules, such as `nets/*.npy`;
    below the folders of `python_path`, or beginning with the name of an installed package."""

    def verify(self) -> tuple[bool, str]:
        """Return whether the run can be trained as configured, and the reason."""
        if self.wandb.upload == "best" and self.checkpoint.keep_best is None:
            return False, (
                "wandb.upload: found best, and no checkpoint.keep_best, which says by what metric; "
                "set it, such as {metric: loss}, or let wandb.upload be last"
            )
        can_share, reason = self.trainer.verify_ranks(self.resources.num_ranks)
        return self.trainer.verify() if can_share else (False, reason)

    @property
    def fingerprint(self) -> str:
        """The hash of the fingerprint fields: equal for two runs if their weights should be."""
        text = json.dumps(self.fingerprint_fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def fingerprint_fields(self) -> dict[str, Any]:
        """What determines the weights, as plain data: seed, datasets, task, network, trainer, and
        initial weights.

        Length, resources, speed and reports are left out, so that they may change between attempts.
        """
        trainer = to_plain(self.trainer)
        return {
            "seed": self.seed,
            "datasets": [_without_new_keys(each) for each in to_plain(self.datasets)],
            "task": to_plain(self.task),
            "architecture": to_plain(self.architecture),
            "init_from": to_plain(self.init_from),
            "trainer": {key: trainer[key] for key in trainer if key not in _NO_PART_OF_RESULT},
        }
