"""The artifacts of the W&B server on this machine: versions, aliases, manifests and files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash
from attrs import define, field

Reply = dict[str, Any]


@define
class Version:
    """A version of an artifact."""

    project: str
    collection: str
    type: str
    digest: str
    number: int
    metadata: dict[str, Any]
    run: str
    aliases: list[str] = field(factory=list)
    is_committed: bool = False
    manifest: dict[str, Any] = field(factory=dict)
    files: dict[str, bytes] = field(factory=dict)
    """The uploaded ones, by name."""

    @property
    def references(self) -> dict[str, str]:
        """The place of each entry that was not uploaded, by name."""
        contents = self.manifest["contents"]
        return {name: entry["ref"] for name, entry in contents.items() if "ref" in entry}


class Artifacts:
    """What the clients have logged.

    As on the real server, equal contents are one version, and an alias belongs to one version of a
    collection at a time.

    Args:
        url: Returns that of the server, which passes on what is put to or asked of `/artifact/…`.
    """

    def __init__(self, url: Callable[[], str], entity: str) -> None:
        self.versions: list[Version] = []
        """Those of all artifacts, oldest first; the index is the id."""
        self._url = url
        self._entity = entity
        self.answers: dict[str, Callable[[Reply], Reply]] = {
            "ArtifactType": lambda _: {"project": {"artifact": None}},
            "ProjectArtifactType": lambda _: {"project": {"artifactType": None}},
            "CreateArtifact": self._create,
            "CreateArtifactManifest": self._create_manifest,
            "UpdateArtifactManifest": self._update_manifest,
            "CreateArtifactFiles": self._create_files,
            "CommitArtifact": self._commit,
            "ArtifactByID": lambda asked: {"artifact": self._shown(int(asked["id"]))},
            "ArtifactMembershipByName": self._membership,
            "CheckpointArtifact": self._membership,
            "GetArtifactMembershipFileUrls": self._file_urls,
            "FetchArtifactManifest": lambda asked: {"artifact": self._shown(int(asked["id"]))},
            "UseArtifact": lambda _: {"useArtifact": {"artifact": {"id": "0"}}},
            "GetDefaultEntity": lambda _: {"viewer": {"id": "u", "entity": self._entity}},
        }

    def with_alias(self, alias: str) -> Version | None:
        """The committed version with an alias; None without one."""
        found = [each for each in self.versions if alias in each.aliases and each.is_committed]
        assert len(found) <= 1, f"{alias} belongs to {found}"
        return found[0] if found else None

    def of_run(self, run_id: str) -> dict[str, int]:
        """The iterations of a run's checkpoints that have an alias."""
        mine = [each for each in self.versions if each.run == run_id and each.is_committed]
        return {alias: each.metadata["iteration"] for each in mine for alias in each.aliases}

    def add(self, path: Path, *, alias: str, is_uploaded: bool = False) -> Version:
        """Log a checkpoint as a run does, to the artifact `checkpoints` of the project `tests`."""
        manifest = (path / "manifest.json").read_bytes()
        checksum = xxhash.xxh3_128_hexdigest(manifest)
        for each in self.versions:
            each.aliases = [other for other in each.aliases if other != alias]
        version = Version(
            project="tests",
            collection="checkpoints",
            type="checkpoint",
            digest=checksum,
            number=len(self.versions),
            metadata={
                "iteration": json.loads(manifest)["iteration"],
                "path": str(path),
                "manifest_xxh3_128": checksum,
            },
            run="r",
            aliases=[alias],
            is_committed=True,
        )
        if is_uploaded:
            version.files = {each.name: each.read_bytes() for each in path.iterdir()}
        self.versions.append(version)
        return version

    def put(self, path: str, content: bytes) -> None:
        """Take an uploaded file; `path` begins with the id of its version."""
        number, _, name = path.partition("/")
        version = self.versions[int(number)]
        if name == "manifest":
            version.manifest = json.loads(content)
        else:
            version.files[name.removeprefix("file/")] = content

    def get(self, path: str) -> bytes:
        """Return what was put."""
        number, _, name = path.partition("/")
        version = self.versions[int(number)]
        if name == "manifest":
            return json.dumps(version.manifest).encode()
        return version.files[name.removeprefix("file/")]

    def _create(self, variables: Reply) -> Reply:
        asked = variables["input"]
        name, digest = asked["artifactCollectionName"], asked["digest"]
        siblings = [each for each in self.versions if each.collection == name]
        version = next((each for each in siblings if each.digest == digest), None)
        if version is None:
            version = Version(
                project=asked["projectName"],
                collection=name,
                type=asked["artifactTypeName"],
                digest=digest,
                number=len(siblings),
                metadata=json.loads(asked["metadata"] or "{}"),
                run=asked["runName"],
            )
            self.versions.append(version)
        for alias in asked["aliases"]:
            for sibling in siblings:
                if alias["alias"] in sibling.aliases:
                    sibling.aliases.remove(alias["alias"])
            version.aliases.append(alias["alias"])
        committed = [each for each in siblings if each.is_committed]
        latest = {"id": str(self.versions.index(committed[-1]))} if committed else None
        shown = self._shown(self.versions.index(version))
        shown["artifactSequence"] = {"latestArtifact": latest}
        return {"createArtifact": {"artifact": shown}}

    def _create_manifest(self, variables: Reply) -> Reply:
        number = variables["artifactID"]
        manifest = {"id": number, "file": self._manifest_file(number)}
        return {"createArtifactManifest": {"artifactManifest": manifest}}

    def _update_manifest(self, variables: Reply) -> Reply:
        number = variables["artifactManifestID"]
        manifest = {"id": number, "file": self._manifest_file(number)}
        return {"updateArtifactManifest": {"artifactManifest": manifest}}

    def _manifest_file(self, number: str) -> Reply:
        url = f"{self._url()}/artifact/{number}/manifest"
        return {"id": number, "uploadUrl": url, "uploadHeaders": []}

    def _create_files(self, variables: Reply) -> Reply:
        files = variables["input"]["artifactFiles"]
        edges = [
            {
                "node": {
                    "storagePath": f"{each['artifactID']}/{each['name']}",
                    "uploadUrl": f"{self._url()}/artifact/{each['artifactID']}/file/{each['name']}",
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": each["artifactID"]},
                }
            }
            for each in files
        ]
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _commit(self, variables: Reply) -> Reply:
        version = self.versions[int(variables["artifactID"])]
        version.is_committed = True
        return {"commitArtifact": {"artifact": {"digest": version.digest}}}

    def _membership(self, variables: Reply) -> Reply:
        name, _, alias = variables["name"].partition(":")
        found = [
            (index, each)
            for index, each in enumerate(self.versions)
            if each.collection == name
            and each.project == variables["project"]
            and alias in (f"v{each.number}", *each.aliases)
            and each.is_committed
        ]
        if variables["project"] not in {each.project for each in self.versions}:
            return {"project": None}
        if not found:
            return {"project": {"artifactCollectionMembership": None}}
        index, version = found[0]
        return {
            "project": {
                "artifactCollectionMembership": {
                    "__typename": "ArtifactCollectionMembership",
                    "id": f"{index}",
                    "versionIndex": version.number,
                    "createdAt": "2026-01-01T00:00:00",
                    "aliases": _aliases(version),
                    "artifactCollection": self._collection(version, "ArtifactSequence"),
                    "artifact": self._shown(index),
                    "files": self._shown(index)["files"],
                }
            }
        }

    def _file_urls(self, variables: Reply) -> Reply:
        name = f"{variables['collection']}:{variables['alias']}"
        found = self._membership({**variables, "name": name})
        membership = found["project"]["artifactCollectionMembership"]
        page = {"endCursor": None, "hasNextPage": False}
        files = {"pageInfo": page, **membership["artifact"]["files"]}
        shown = {"__typename": "ArtifactSequence", "artifactMembership": {"files": files}}
        return {"project": {"artifactCollection": shown}}

    def _collection(self, version: Version, kind: str) -> Reply:
        project = {
            "id": "p",
            "internalId": "p",
            "name": version.project,
            "entity": {"name": self._entity},
        }
        return {"__typename": kind, "name": version.collection, "project": project}

    def _shown(self, index: int) -> Reply:
        version = self.versions[index]
        url = f"{self._url()}/artifact/{index}"
        collection = self._collection(version, "ArtifactSequence")
        files = [
            {"node": {"__typename": "File", "name": name, "directUrl": f"{url}/file/{name}"}}
            for name in version.files
        ]
        return {
            "__typename": "Artifact",
            "id": f"{index}",
            "artifactSequence": collection,
            "versionIndex": version.number,
            "artifactType": {"name": version.type},
            "description": None,
            "metadata": json.dumps(version.metadata),
            "ttlDurationSeconds": -2,
            "ttlIsInherited": True,
            "tags": [],
            "historyStep": None,
            "state": "COMMITTED" if version.is_committed else "PENDING",
            "size": sum(len(each) for each in version.files.values()),
            "digest": version.digest,
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": "c",
            "fileCount": len(version.manifest.get("contents", ())),
            "createdAt": "2026-01-01T00:00:00",
            "updatedAt": None,
            "aliases": [{**each, "artifactCollection": collection} for each in _aliases(version)],
            "currentManifest": {"file": {"directUrl": f"{url}/manifest"}},
            "files": {"edges": files},
        }


def _aliases(version: Version) -> list[Reply]:
    return [{"__typename": "ArtifactAlias", "id": each, "alias": each} for each in version.aliases]
