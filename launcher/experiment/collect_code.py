"""Read the code that is submitted: our packages, folders of user modules, users' own packages."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from launcher.errors import LauncherError
from launcher.experiment.code_files import source_files
from launcher.experiment.code_snapshot import (
    PACKAGES,
    PLACE_OF_PACKAGES,
    CollectedCode,
    is_copy,
    manifest_of,
)
from launcher.experiment.folder_walk import CODE
from launcher.experiment.import_paths import find_module, lies_in
from launcher.experiment.own_packages import files_of, own_modules, refuse_unless_copy_wins


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
        python_path: Folders of user modules; only source files and small configs are copied. What
            is in folders of an earlier snapshot is taken from there, wherever else it is found now.
        import_paths: Of what the runs use. Packages that these name are copied as a whole, from
            wherever they lie, and so are those that they import, unless they are installed as
            copies.
        include: Patterns of further files to copy, below the folders.

    Raises:
        LauncherError: A folder holds too much for code, a copy would not be imported, or earlier
            snapshots have different packages of one name.
    """
    named = list(dict.fromkeys(path.partition(":")[0].partition(".")[0] for path in import_paths))
    named = [name for name in named if name not in PACKAGES]
    python_path = list(dict.fromkeys(python_path))
    copies = [each for each in python_path if is_copy(each)]
    of_packages = [each for each in copies if each.name == PLACE_OF_PACKAGES]
    folders = [each for each in python_path if each not in of_packages]
    contents: dict[str, bytes] = {}
    for package in PACKAGES:
        home = Path(importlib.import_module(package).__path__[0])
        names = source_files(home, apart_from=folder).names
        contents |= _read(home, f"{PLACE_OF_PACKAGES}/{package}", names)
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
    earlier = [
        _Earlier.read(path, [each for each in copies if each.parent == path])
        for path in dict.fromkeys(each.parent for each in copies)
    ]
    own: dict[str, Mapping[str, bytes]] = {}
    for snapshot in earlier:
        own = {**snapshot.own, **own}
    modules = own_modules(named, folders, apart_from=[*PACKAGES, *own], copies=copies)
    for name in own:
        refuse_unless_copy_wins(name)
    for name, module in modules.items():
        if copied := next(filter(None, (each.module(name) for each in earlier)), None):
            refuse_unless_copy_wins(name)
            own[name] = copied
            continue
        try:
            refuse_unless_copy_wins(name)
            files, found = files_of(module, include)
        except LauncherError as error:
            if name in named:
                raise
            doubts.append(f"{name} is imported from where it may be edited later: {error}")
            continue
        own[name] = {each: files[each].read_bytes() for each in files}
        left_out += found.left_out
    _refuse_other_versions(own, earlier, [each for each in folders if each not in copies], include)
    for content in own.values():
        contents |= {f"{PLACE_OF_PACKAGES}/{name}": content[name] for name in content}
    others = {name: find_module(name, folders) for name in named if name not in own}
    installed = {name: each for name, each in others.items() if each and each.is_installed}
    doubts += [
        f"{name} is imported as it is installed, in {module.file}, and not from "
        f"{', '.join(map(str, folders))}: uninstall it, or give yours another name"
        for name, module in installed.items()
        if module.file and any(lies_in(name, each) for each in folders)
    ]
    return CollectedCode(
        contents=contents,
        installed=tuple(installed),
        places={**places, **dict.fromkeys(of_packages, PLACE_OF_PACKAGES)},
        own_packages=tuple(own),
        left_out=tuple(left_out),
        doubts=tuple(doubts),
    )


@frozen
class _Earlier:
    """An earlier snapshot, some of whose folders runs have in their `python_path`."""

    path: Path
    places: Sequence[str]
    """Of user modules, in their order."""
    names: Sequence[str]
    own: Mapping[str, Mapping[str, bytes]]
    """The files of the packages that lie beside ours, by the name of the package."""

    @classmethod
    def read(cls, path: Path, folders: Sequence[Path]) -> _Earlier:
        names = list(manifest_of(path))
        below = [
            name.partition("/")[2] for name in names if name.startswith(f"{PLACE_OF_PACKAGES}/")
        ]
        packages = dict.fromkeys(name.partition("/")[0].partition(".")[0] for name in below)
        return cls(
            path=path,
            places=[each.name for each in folders if each.name != PLACE_OF_PACKAGES],
            names=names,
            own={
                name: _files(path, names, PLACE_OF_PACKAGES, name)
                for name in packages
                if name not in PACKAGES
            },
        )

    def module(self, name: str) -> Mapping[str, bytes]:
        """Return the files of a module or package beside the experiment; empty without one."""
        for place in self.places:
            found = _files(self.path, self.names, place, name)
            if any(each.endswith(CODE) for each in found):
                return found
        return {}


def _refuse_other_versions(
    own: Mapping[str, Mapping[str, bytes]],
    earlier: Sequence[_Earlier],
    folders: Sequence[Path],
    include: Sequence[str],
) -> None:
    """Refuse runs that were submitted with different packages of one name.

    Args:
        folders: Of user modules that are no copies, of runs that have no snapshot so far.
    """
    for name, files in own.items():
        versions = {str(each.path): each.own.get(name) or each.module(name) for each in earlier}
        now = find_module(name, folders) if folders and any(versions.values()) else None
        if now and not now.is_installed:
            found, _ = files_of(now, include)
            versions["no copy so far"] = {each: found[each].read_bytes() for each in found}
        others = [where for where, other in versions.items() if other and other != files]
        if others:
            same = [where for where, other in versions.items() if other == files]
            raise LauncherError(
                f"these runs were submitted with different code of {name} "
                f"({' and '.join([*same, *others])}), and the jobs of a submission share it. "
                "Resubmit the runs of each by themselves, as EXPERIMENT/RUN; `python_path` in "
                "their config.yaml says which runs these are"
            )


def _files(path: Path, names: Iterable[str], place: str, name: str) -> dict[str, bytes]:
    """Return the files of a module or package in a snapshot, by their names in the place."""
    return {
        each.removeprefix(f"{place}/"): (path / each).read_bytes()
        for each in names
        if each.startswith(f"{place}/{name}/")
        or (each.startswith(f"{place}/{name}.") and each.count("/") == 1 and each.endswith(CODE))
    }


def _read(folder: Path, place: str, names: Iterable[str]) -> dict[str, bytes]:
    """Read files; return contents by their names in the snapshot."""
    return {f"{place}/{name}": (folder / name).read_bytes() for name in names}
