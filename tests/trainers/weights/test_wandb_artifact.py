"""A run that begins with a checkpoint from W&B."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.fakes.wandb_server import ENTITY, Fault, WandbServer
from trainers.checkpoints import CheckpointStore
from trainers.config.artifact_address import ArtifactAddress, WeightsPath
from trainers.config.converter import from_plain, to_plain
from trainers.config_faults import MalformedError
from trainers.distributed.process_group import ALONE
from trainers.errors import CheckpointError, ConfigError, TrainerError, UnavailableError
from trainers.run.run_folder import RunFolder
from trainers.weights import init_from
from trainers.weights.init_from import load_initial_weights
from trainers.weights.wandb_artifact import fetch, find_artifact

ADDRESS = ArtifactAddress(ENTITY, "tests", "checkpoints", "latest")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    server = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(init_from, "TIMEOUT_S", 0.0)
    yield server
    server.close()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """The folder of the run that begins."""
    path = tmp_path / "tuned" / "runs" / "tuned"
    path.mkdir(parents=True)
    return RunFolder(path)


def network(value: float = 0.0) -> torch.nn.Module:
    module = torch.nn.Linear(3, 4)
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, value)
    return module


def save(tmp_path: Path, iteration: int) -> Path:
    """A checkpoint of another run; all its weights are the iteration."""
    source = tmp_path / "source" / "checkpoints"
    source.mkdir(parents=True, exist_ok=True)
    store = CheckpointStore(source, fingerprint="another")
    state = {"trainer": {}, "model": network(float(iteration)).state_dict()}
    return store.save(iteration, state)


def first_weight(folder: RunFolder, address: WeightsPath = ADDRESS) -> float:
    module = network()
    load_initial_weights(module, address, ALONE, folder)
    return next(module.parameters()).detach().flatten()[0].item()


def taken(folder: RunFolder) -> dict[str, object]:
    return dict(json.loads(folder.initial_weights.read_text()))


def test_a_reference_leads_to_the_checkpoint(
    server: WandbServer, folder: RunFolder, tmp_path: Path
) -> None:
    path = save(tmp_path, 10)
    server.artifacts.add(path, alias="latest")
    assert first_weight(folder) == 10
    assert taken(folder)["checkpoints"] == str(path.parent)
    assert taken(folder)["artifact"] == f"wandb://{ENTITY}/tests/checkpoints:v0"
    assert not folder.weights_cache.exists()


def test_files_are_downloaded_once(server: WandbServer, folder: RunFolder, tmp_path: Path) -> None:
    """Two runs of an experiment share them, and need W&B no more."""
    path = save(tmp_path, 10)
    server.artifacts.add(path, alias="latest", is_uploaded=True)
    shutil.rmtree(path)
    found = find_artifact(ADDRESS)
    assert first_weight(folder) == 10
    server.artifacts.versions[0].files.clear()
    copy = fetch(found, folder.weights_cache)
    assert copy.is_relative_to(folder.weights_cache)
    assert sorted(each.name for each in copy.iterdir()) == [
        "manifest.json",
        "rank-00000.safetensors",
    ]
    assert [each.name for each in folder.weights_cache.iterdir()] == [found.checksum]


def test_later_attempts_take_what_the_first_one_took(
    server: WandbServer, folder: RunFolder, tmp_path: Path
) -> None:
    """The alias moves on, and the server may be away."""
    server.artifacts.add(save(tmp_path, 10), alias="latest")
    assert first_weight(folder) == 10
    server.artifacts.add(save(tmp_path, 20), alias="latest")
    assert first_weight(folder) == 10
    server.fault = lambda operation: 503
    assert first_weight(folder) == 10


def test_damage_on_the_way_is_found(server: WandbServer, folder: RunFolder, tmp_path: Path) -> None:
    version = server.artifacts.add(save(tmp_path, 10), alias="latest", is_uploaded=True)
    data = bytearray(version.files["rank-00000.safetensors"])
    data[-1] ^= 1
    version.files["rank-00000.safetensors"] = bytes(data)
    with pytest.raises(CheckpointError, match=r"rank-00000\.safetensors has changed"):
        first_weight(folder)
    assert not folder.initial_weights.exists()
    assert list(folder.weights_cache.iterdir()) == []


def test_a_reference_to_what_was_deleted_since(
    server: WandbServer, folder: RunFolder, tmp_path: Path
) -> None:
    path = save(tmp_path, 10)
    server.artifacts.add(path, alias="latest")
    shutil.rmtree(path)
    with pytest.raises(ConfigError, match=f"was deleted since.* run's newest: {tmp_path}/source"):
        first_weight(folder)


def test_a_reference_whose_file_system_is_away(
    server: WandbServer, folder: RunFolder, tmp_path: Path
) -> None:
    path = save(tmp_path, 10)
    server.artifacts.add(path, alias="latest")
    shutil.rmtree(tmp_path / "source")
    with pytest.raises(UnavailableError, match="mount it again"):
        first_weight(folder)


def test_a_reference_to_what_has_changed_since(
    server: WandbServer, folder: RunFolder, tmp_path: Path
) -> None:
    path = save(tmp_path, 10)
    version = server.artifacts.add(path, alias="latest")
    version.metadata["manifest_xxh3_128"] = "0" * 32
    with pytest.raises(CheckpointError, match=r"is not the checkpoint that .* stands for"):
        first_weight(folder)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (401, ConfigError, r"does not accept the API key \(401\); log in"),
        (403, ConfigError, r"may not read it \(403\)"),
        (404, ConfigError, "is not found"),
        (429, UnavailableError, "W&B answers 429"),
        (503, UnavailableError, "W&B answers 503"),
        ("reset", UnavailableError, "does not answer"),
    ],
)
def test_refusals_are_told_apart(
    server: WandbServer, fault: Fault, kind: type[TrainerError], words: str
) -> None:
    server.fault = lambda operation: fault
    with pytest.raises(kind, match=words):
        find_artifact(ADDRESS)


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    with pytest.raises(UnavailableError, match="does not answer"):
        find_artifact(ADDRESS)


def test_without_a_key(server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(ConfigError, match="no API key"):
        find_artifact(ADDRESS)


def test_the_key_may_be_in_netrc(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login user password {'a' * 40}\n")
    netrc.chmod(0o600)
    server.artifacts.add(save(tmp_path, 10), alias="latest")
    assert find_artifact(ADDRESS).iteration == 10


@pytest.mark.parametrize("missing", ["project", "artifact", "alias"])
def test_what_is_not_there(server: WandbServer, tmp_path: Path, missing: str) -> None:
    server.artifacts.add(save(tmp_path, 10), alias="latest")
    names = {"project": "tests", "artifact": "checkpoints", "alias": "latest", missing: "other"}
    with pytest.raises(ConfigError, match=f"no project {ENTITY}/other|no such artifact"):
        find_artifact(ArtifactAddress(ENTITY, **names))


def test_another_kind_of_artifact(server: WandbServer, tmp_path: Path) -> None:
    server.artifacts.add(save(tmp_path, 10), alias="latest").metadata.clear()
    with pytest.raises(ConfigError, match="is no checkpoint that a run of this package has logged"):
        find_artifact(ADDRESS)


def test_a_config_holds_an_address() -> None:
    text = "wandb://my-lab/fib25/affinities-abc123:best"
    address = from_plain(WeightsPath | None, text)  # type: ignore[arg-type]
    assert address == ArtifactAddress("my-lab", "fib25", "affinities-abc123", "best")
    assert to_plain(address) == text


@pytest.mark.parametrize("text", ["wandb://a/b/c", "wandb://a/b:latest", "wandb://a/b/c/d:e"])
def test_half_an_address_is_refused(text: str) -> None:
    with pytest.raises(MalformedError, match="must be wandb://ENTITY/PROJECT/ARTIFACT:ALIAS"):
        from_plain(WeightsPath | None, text)  # type: ignore[arg-type]
