"""Snapshots of code: the code that was submitted is the code that runs."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from attrs import frozen

from launcher.errors import LauncherError
from launcher.experiment.code_files import source_files
from launcher.experiment.import_paths import find_module, lies_in
from launcher.experiment.own_packages import files_of, own_modules
from launcher.tables import first_names
from trainers.run.atomic_write import sync_folder
from trainers.run.failure_class import is_of_this_moment

_PACKAGES = ("launcher", "trainers", "cluster_configs")
_PLACE_OF_PACKAGES = "packages"
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
        return self.path / _PLACE_OF_PACKAGES

    def copies_of(self, python_path: Iterable[Path]) -> tuple[Path, ...]:
        """Return the copies of folders of user modules, after that of own packages if there are
        any: whoever reads the run's config later finds all of its code."""
        found = [self.python_path[each] for each in python_path]
        return tuple(dict.fromkeys([self.packages, *found] if self.own_packages else found))


def collect_code(
    folder: Path,
    python_path: Sequence[Path],
    *,
    import_paths: Iterable[str] = (),
    include: Sequence[str] = (),
) -> CollectedCode:
    """Read the code as it is now, uncommitted changes included.

    Args:
        folder: Holds the snapshots of an experiment.
        python_path: Folders of user modules; only source files and small configs are copied. The
            packages of an earlier snapshot stand for what was copied there.
        import_paths: Of what the runs use. Packages that these name are copied as a whole, from
            wherever they lie, and so are those that they import, unless they are installed as
            copies.
        include: Patterns of further files to copy, below the folders.

    Raises:
        LauncherError: A folder holds too much for code.
    """
    named = list(dict.fromkeys(path.partition(":")[0].partition(".")[0] for path in import_paths))
    named = [name for name in named if name not in _PACKAGES]
    earlier = [each for each in python_path if _is_of_snapshot(each)]
    folders = [each for each in dict.fromkeys(python_path) if each not in earlier]
    contents: dict[str, bytes] = {}
    for package in _PACKAGES:
        home = Path(importlib.import_module(package).__path__[0])
        names = source_files(home, apart_from=folder).names
        contents |= _read(home, f"{_PLACE_OF_PACKAGES}/{package}", names)
    left_out, doubts = list[str](), list[str]()
    places = {each: f"user-{number}" for number, each in enumerate(folders)}
    for user_folder, place in places.items():
        found = source_files(user_folder, apart_from=folder, include=include, whole=named)
        contents |= _read(user_folder, place, found.names)
        left_out += found.left_out
        if found.doubt:
            doubts.append(
                f"files of {user_folder} are copied though git may ignore them: {found.doubt}"
            )
    own: list[str] = []
    for old in earlier:
        names = _names_of_own(old)
        contents |= _read(old, _PLACE_OF_PACKAGES, names)
        own += dict.fromkeys(name.partition("/")[0].partition(".")[0] for name in names)
    for name, module in own_modules(named, folders, apart_from=[*_PACKAGES, *own]).items():
        try:
            files, found = files_of(module, include)
        except LauncherError as error:
            if name in named:
                raise
            doubts.append(f"{name} is imported from where it may be edited later: {error}")
            continue
        own.append(name)
        contents |= {f"{_PLACE_OF_PACKAGES}/{each}": files[each].read_bytes() for each in files}
        left_out += found.left_out
    modules = {name: find_module(name, folders) for name in named if name not in own}
    installed = {name: each for name, each in modules.items() if each and each.is_installed}
    doubts += [
        f"{name} is imported as it is installed, in {module.file}, and not from "
        f"{', '.join(map(str, folders))}: uninstall it, or give yours another name"
        for name, module in installed.items()
        if module.file and any(lies_in(name, each) for each in folders)
    ]
    return CollectedCode(
        contents=contents,
        installed=tuple(installed),
        places={**places, **dict.fromkeys(earlier, _PLACE_OF_PACKAGES)},
        own_packages=tuple(own),
        left_out=tuple(left_out),
        doubts=tuple(doubts),
    )


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
    expected = _manifest(path)
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


def _is_of_snapshot(folder: Path) -> bool:
    """Return whether a folder holds the packages of an earlier snapshot."""
    return folder.name == _PLACE_OF_PACKAGES and (folder.parent / _MANIFEST).is_file()


def _names_of_own(packages: Path) -> list[str]:
    """Return the files of the packages that an earlier snapshot has copied beside ours."""
    names = [name.partition("/") for name in _manifest(packages.parent)]
    return [
        name
        for place, _, name in names
        if place == _PLACE_OF_PACKAGES and name.partition("/")[0] not in _PACKAGES
    ]


def _read(folder: Path, place: str, names: Iterable[str]) -> dict[str, bytes]:
    """Read files; return contents by their names in the snapshot."""
    return {f"{place}/{name}": (folder / name).read_bytes() for name in names}


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
        for place in {_PLACE_OF_PACKAGES, *places}:
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


def _manifest(path: Path) -> dict[str, str]:
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
