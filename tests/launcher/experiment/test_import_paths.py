"""What an import path names, found without importing it."""

from pathlib import Path

import pytest

from launcher.experiment.import_paths import find_module, import_fault, imported_names

SOURCE = """\
import json as js
from collections import OrderedDict
if js:
    class Conditional: ...
else:
    FALLBACK, OTHER = 1, 2
try:
    from nowhere import missing
except ImportError:
    missing = None
def make():
    inner = 1
class Net:
    attribute = 1
alias: type = Net
"""


@pytest.fixture
def user(tmp_path):
    """A folder of a user's own modules."""
    for name, text in {
        "nets.py": SOURCE,
        "broken.py": "def f(:\n",
        "dynamic.py": "def __getattr__(name): ...\n",
        "starred.py": "from nets import *\n",
        "pack/__init__.py": "",
        "pack/inner.py": "class Net: ...\n",
        "space/deep/net.py": "class Net: ...\n",
        "compiled.cpython-311-x86_64-linux-gnu.so": "",
        "crashes.py": "raise SystemExit('imported')\nclass Net: ...\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "import_path",
    [
        "nets:Net",
        "nets:make",
        "nets:alias",
        "nets:Conditional",
        "nets:OTHER",
        "nets:missing",
        "nets:js",
        "dynamic:Anything",
        "starred:Net",
        "pack.inner:Net",
        "pack:inner",
        "space.deep.net:Net",
        "crashes:Net",
        "torch.nn:Conv3d",
        "collections.abc:Sequence",
        "sys:path",
    ],
)
def test_what_can_be_imported(user, import_path):
    """Nothing is imported to know."""
    assert import_fault(import_path, [user]) is None


@pytest.mark.parametrize(
    ("import_path", "message"),
    [
        (
            "nets:Nett",
            "nets.py has no 'Nett'; did you mean 'Net'? available: Conditional, FALLBACK",
        ),
        ("nets:inner", "nets.py has no 'inner'; "),
        ("nets:attribute", "nets.py has no 'attribute'; "),
        ("pack.nothing:Net", "there is no module 'pack.nothing' in "),
        ("nets.inner:Net", "there is no module 'nets.inner' in "),
        (
            "no_such_nets:Net",
            "there is no module 'no_such_nets' in {user} or this environment. Put",
        ),
        ("broken:f", "broken.py:1 is not Python: "),
    ],
)
def test_what_cannot_be_imported(user, import_path, message):
    """The message says what was found where, and what to do."""
    fault = import_fault(import_path, [user])

    assert fault.startswith(f"found {import_path!r}, and ")
    assert message.format(user=user) in fault


def test_what_is_installed_goes_before_what_lies_beside(user, tmp_path, monkeypatch):
    """As in a run; but a folder that only has the name of a package is none."""
    other = tmp_path / "other"
    (other / "nets").mkdir(parents=True)
    monkeypatch.syspath_prepend(other)
    assert find_module("nets", [user]).file == user / "nets.py"

    (other / "nets" / "__init__.py").touch()
    assert find_module("nets", [user]).file == other / "nets" / "__init__.py"


@pytest.mark.parametrize(("name", "expected"), [("json", True), ("attrs", True), ("nets", False)])
def test_which_modules_are_installed_as_copies(user, name, expected):
    """The standard library, and what lies in site-packages."""
    assert find_module(name, [user]).is_installed == expected


def test_which_modules_a_module_imports():
    """By their first names, wherever the import stands; those of its own package do not count."""
    source = "import a.b, c\ndef f():\n    from d.e import g\nfrom . import h\nfrom .i import j\n"

    assert imported_names(source) == {"a", "c", "d"}
    assert imported_names("def f(:") == set()


def test_a_missing_network_is_refused_with_its_line(workplace):
    """Before anything is written; so is a pattern of files to copy that matches none of code."""
    file = Path("dummies.yaml")
    Path(".tables").mkdir()
    Path(".tables", "a.npy").touch()
    text = file.read_text().replace("torch.nn:Conv3d", "no_such_nets:Net")
    file.write_text(text + "code_include: [nets/*.npy, '**/a.npy', '.tables/*']\n")
    line = 1 + next(n for n, each in enumerate(text.splitlines()) if "no_such_nets" in each)

    assert workplace.submit() == 2

    assert (
        f"dummies.yaml:{line}: architecture.import_path: found 'no_such_nets:Net'" in workplace.err
    )
    assert "code_include.0: found 'nets/*.npy', which matches no file below" in workplace.err
    assert "code_include.1: found '**/a.npy', which matches no file below" in workplace.err
    assert "code_include.2" not in workplace.err
    assert not workplace.experiment.path.exists()
