"""Take a checkpoint back from W&B. Imports no wandb, so that a login node can do it."""

from __future__ import annotations

import http.client
import json
import logging
import netrc
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import xxhash
from attrs import frozen

from trainers.checkpoints.layout import MANIFEST_NAME, folder_name
from trainers.checkpoints.verification import verify
from trainers.config.artifact_address import ArtifactAddress
from trainers.errors import (
    CheckpointError,
    ConfigError,
    DamagedCheckpointError,
    UnavailableError,
)
from trainers.run.sections import beat
from trainers.run.wandb_graphql import ask, basic

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0
_DEFAULT_SERVER = "https://api.wandb.ai"
_PIECE_BYTES = 2**20
_MAX_FILES = 1000
_QUERY = """
query CheckpointArtifact($entity: String!, $project: String!, $name: String!, $first: Int) {
  project(name: $project, entityName: $entity) {
    artifactCollectionMembership(name: $name) {
      versionIndex
      artifact { state metadata }
      files(first: $first) { edges { node { name directUrl } } }
    }
  }
}
"""


@frozen(kw_only=True)
class CheckpointArtifact:
    """A checkpoint that a run has logged to W&B."""

    address: ArtifactAddress
    """With the version, which never changes, in place of an alias."""
    iteration: int
    path: Path
    """Where it was when it was logged."""
    checksum: str
    """xxh3_128 of its manifest."""
    urls: Mapping[str, str]
    """Of its files, by name; empty for a reference."""


def find_artifact(address: ArtifactAddress) -> CheckpointArtifact:
    """Ask W&B which checkpoint an address stands for now.

    Raises:
        ConfigError: There is no such artifact, it is no checkpoint, or the account may not read it.
        UnavailableError: The server is away.
    """
    variables = {
        "entity": address.entity,
        "project": address.project,
        "name": f"{address.artifact}:{address.alias}",
        "first": _MAX_FILES,
    }
    project = _ask(address, variables).get("project")
    if project is None:
        raise ConfigError(
            f"init_from: {address} is not found: there is no project "
            f"{address.entity}/{address.project}, or this account may not read it; look at its "
            "page in the browser"
        )
    found = project.get("artifactCollectionMembership")
    if found is None or found["artifact"]["state"] != "COMMITTED":
        raise ConfigError(
            f"init_from: {address} is not found: the project has no such artifact, or the artifact "
            "no such alias; `best`, `latest` and versions such as v0 are in the browser, under "
            "Artifacts"
        )
    try:
        metadata = json.loads(found["artifact"]["metadata"] or "{}")
        files = [each["node"] for each in found["files"]["edges"]]
        return CheckpointArtifact(
            address=attrs.evolve(address, alias=f"v{int(found['versionIndex'])}"),
            iteration=int(metadata["iteration"]),
            path=Path(metadata["path"]),
            checksum=str(metadata["manifest_xxh3_128"]),
            urls={str(each["name"]): str(each["directUrl"]) for each in files},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"init_from: {address} is no checkpoint that a run of this package has logged: its "
            f"metadata lack {error}; give an artifact of the type checkpoint"
        ) from error


def fetch(artifact: CheckpointArtifact, cache: Path) -> Path:
    """Return the folder of the checkpoint: where it lies, or a copy in `cache`, downloaded once.

    The manifest is what was logged, byte by byte; the other files are as it says when they were
    downloaded just now, or else when they are read.

    Raises:
        ConfigError: A reference leads nowhere.
        CheckpointError: It is not what was logged.
        UnavailableError: A server or a file system is away.
        OSError: The cache cannot be written.
    """
    copy = cache / artifact.checksum / folder_name(artifact.iteration)
    if copy.exists():
        return copy
    if MANIFEST_NAME not in artifact.urls:
        _require_reference(artifact)
        return artifact.path
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as temporary:
        folder = Path(temporary, copy.name)
        folder.mkdir()
        for number, (name, url) in enumerate(artifact.urls.items(), 1):
            if name != Path(name).name:
                raise CheckpointError(f"init_from: {artifact.address} has a file {name!r}")
            logger.info("downloading %s, file %d of %d", name, number, len(artifact.urls))
            _download(artifact, url, folder / name)
        _require_checksum(artifact, folder)
        verify(folder, on_read=lambda _: beat())
        copy.parent.mkdir(exist_ok=True)
        with suppress(OSError):  # another run of the experiment was faster
            folder.rename(copy)
        if not copy.exists():
            shutil.move(folder, copy)
    return copy


def _require_reference(artifact: CheckpointArtifact) -> None:
    path = artifact.path
    if path.exists():
        _require_checksum(artifact, path)
        return
    if not path.parent.exists():
        raise UnavailableError(
            f"init_from: {artifact.address} lies in {path.parent}, which cannot be found from this "
            "machine; if its file system is gone, mount it again"
        )
    raise ConfigError(
        f"init_from: {artifact.address} stands for {path}, which was deleted since, as "
        f"`keep_last` says; take another version, or the run's newest: {path.parent.parent}"
    )


def _require_checksum(artifact: CheckpointArtifact, folder: Path) -> None:
    try:
        have = xxhash.xxh3_128_hexdigest((folder / MANIFEST_NAME).read_bytes())
    except FileNotFoundError:
        have = "missing"
    if have != artifact.checksum:
        raise DamagedCheckpointError(
            f"init_from: {folder} is not the checkpoint that {artifact.address} stands for: the "
            f"hash of its {MANIFEST_NAME} is {have}, {artifact.checksum} was logged; take another "
            "version"
        )


def _ask(address: ArtifactAddress, variables: dict[str, Any]) -> dict[str, Any]:
    server = os.environ.get("WANDB_BASE_URL") or _DEFAULT_SERVER
    authorization = _authorization(server)
    try:
        answer = ask(server, authorization, _QUERY, variables, timeout_s=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        raise _refused(address, error.code) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnavailableError(
            f"init_from: {address} cannot be read: {server} does not answer: {error}"
        ) from None
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
        raise UnavailableError(f"init_from: {address} cannot be read: {server} answers {answer!r}")
    return dict(answer["data"])


def _download(artifact: CheckpointArtifact, url: str, path: Path) -> None:
    try:
        # No credentials: the address is signed, and an object store refuses both at once.
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, path.open("wb") as file:
            expected, num_bytes = response.headers.get("Content-Length"), 0
            while piece := response.read(_PIECE_BYTES):
                file.write(piece)
                num_bytes += len(piece)
                beat()
    except urllib.error.HTTPError as error:
        raise _refused(artifact.address, error.code) from None
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as e:
        raise UnavailableError(f"init_from: {artifact.address} cannot be read: {e}") from None
    if expected is not None and num_bytes != int(expected):
        raise UnavailableError(
            f"init_from: {artifact.address}: the connection broke after {num_bytes:,} of "
            f"{int(expected):,} bytes of {path.name}"
        )


def _refused(address: ArtifactAddress, status: int) -> Exception:
    if status == 429 or status >= 500:
        return UnavailableError(f"init_from: {address} cannot be read: W&B answers {status}")
    if status == 401:
        return ConfigError(
            f"init_from: {address} cannot be read: W&B does not accept the API key (401); log in "
            "again with `wandb login`, or set WANDB_API_KEY"
        )
    if status == 403:
        return ConfigError(
            f"init_from: {address} cannot be read: this account may not read it (403); ask the "
            "project's owner"
        )
    return ConfigError(f"init_from: {address} is not found: W&B answers {status}")


def _authorization(server: str) -> str:
    key = os.environ.get("WANDB_API_KEY")
    if not key:
        with suppress(OSError, netrc.NetrcParseError):
            entry = netrc.netrc().authenticators(urlsplit(server).hostname or "")
            key = entry[2] if entry else None
    if not key:
        raise ConfigError(
            "init_from: there is no API key of W&B; log in with `wandb login`, or set WANDB_API_KEY"
        )
    return basic(key)
