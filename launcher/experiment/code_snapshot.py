"""Snapshots of code: the code that was submitted is the code that runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from uuid import uuid4

from attrs import frozen

from launcher.errors import LauncherError
from launcher.tables import first_names
from trainers.run.atomic_write import sync_folder
from trainers.run.failure_class import is_of_this_moment

PACKAGES = ("launcher", "trainers", "cluster_configs")
"""Ours."""
PLACE_OF_PACKAGES = "packages"
"""Where ours lie in a snapshot, and packages of users beside them."""
_MANIFEST = "manifest.json"
_MAX_NAMED = 5
"""Files named in an error, of each kind of fault."""


@frozen(kw_only=True)
class CollectedCode:
    """Our packages and the user's modules as they are now, to be written as a snapshot."""

    contents: Mapping[str, bytes]
    """By their names in the snapshot."""
    places: Mapping[Path, str]
    """For each folder of `python_path`, that of its copy."""
    own_packages: tuple[str, ...] = ()
    """Copied beside ours, since another place than `python_path` has them."""
    installed: tuple[str, ...] = ()
    """Modules that import paths name and that are imported as they are installed."""
    left_out: tuple[str, ...] = ()
    """Files and links that lie beside the modules, and are not copied."""
    doubts: tuple[str, ...] = ()
    """What else the user may not expect."""


@frozen(kw_only=True)
class CodeSnapshot:
    """A folder with our packages and the user modules; its name is the hash of its content."""

    path: Path
    python_path: Mapping[Path, Path]
    """The folders of user modules, each mapped to its copy in the snapshot."""
    own_packages: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def packages(self) -> Path:
        """Goes first on the PYTHONPATH."""
        return self.path / PLACE_OF_PACKAGES

    def copies_of(self, python_path: Iterable[Path]) -> tuple[Path, ...]:
        """Return the copies of folders of user modules, after that of own packages if there are
        any: whoever reads the run's config later finds all of its code."""
        found = [self.python_path[each] for each in python_path]
        return tuple(dict.fromkeys([self.packages, *found] if self.own_packages else found))


def write_snapshot(folder: Path, code: CollectedCode) -> CodeSnapshot:
    """Write the code into a folder of its own, or return an equal snapshot that is there.

    Args:
        folder: Holds the snapshots of an experiment; runs with equal code share one.

    Raises:
        LauncherError: The snapshot with the same code was changed.
    """
    hashes = {name: _hash(content) for name, content in code.contents.items()}
    path = folder.absolute() / _name(hashes)
    if not path.exists():
        _write(path, code.contents, hashes, code.places.values())
    verify_snapshot(path)
    return CodeSnapshot(
        path=path,
        python_path={each: path / place for each, place in code.places.items()},
        own_packages=code.own_packages,
    )


def verify_snapshot(path: Path) -> None:
    """Check the hash of every file of a snapshot.

    Raises:
        LauncherError: Files were changed, removed or added; names them.
        OSError: They cannot be read at present, or the folder of snapshots is missing.
    """
    expected = manifest_of(path)
    found = {name: _hash((path / name).read_bytes()) for name in _names(path)}
    faults = {
        "changed": [name for name in expected if found.get(name, expected[name]) != expected[name]],
        "missing": [name for name in expected if name not in found],
        "added": [name for name in found if name not in expected],
    }
    texts = [
        f"{fault}: {first_names(sorted(names), _MAX_NAMED)}"
        for fault, names in faults.items()
        if names
    ]
    if texts:
        raise LauncherError(
            f"the code in {path} is not what was submitted ({'; '.join(texts)}). Restore "
            "it, or remove the folder and submit again."
        )


def is_copy(folder: Path) -> bool:
    """Return whether a folder is one of a snapshot: a copy of user modules, or the packages."""
    return (folder.parent / _MANIFEST).is_file()


def manifest_of(path: Path) -> dict[str, str]:
    """Read the hash of every file, and check that together they give the name of the folder."""
    try:
        hashes = dict(json.loads((path / _MANIFEST).read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        if is_of_this_moment(error):
            raise
        if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
            raise  # its file system is away
        raise LauncherError(
            f"{path / _MANIFEST} cannot be read ({error}); remove {path} and submit again"
        ) from None
    if _name(hashes) != path.name:
        raise LauncherError(f"{path / _MANIFEST} was changed; remove {path} and submit again")
    return hashes


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _name(hashes: Mapping[str, str]) -> str:
    return _hash(json.dumps(sorted(hashes.items())).encode())


def _write(
    path: Path, contents: Mapping[str, bytes], hashes: Mapping[str, str], places: Iterable[str]
) -> None:
    """Write the whole folder at once, by a rename, unless another process was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    manifest = json.dumps({"files": dict(sorted(hashes.items()))}, indent=1).encode()
    try:
        for place in {PLACE_OF_PACKAGES, *places}:
            (temporary / place).mkdir(parents=True)
        for name, content in {**contents, _MANIFEST: manifest}.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o444)
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError:
        if not path.exists():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _names(path: Path) -> Iterator[str]:
    """Yield all files except the byte code that Python writes."""
    for folder, folders, names in os.walk(path, onerror=_raise):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            relative = Path(folder, name).relative_to(path).as_posix()
            if relative != _MANIFEST:
                yield relative


def _raise(error: OSError) -> None:
    raise error
