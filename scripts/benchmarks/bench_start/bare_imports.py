"""Import the modules that a file names, and print when that was done: `bare_imports.py FILE`.

The moment is in seconds of the monotonic clock, which all processes share.
"""

import importlib
import sys
import time

with open(sys.argv[1]) as file:  # noqa: PTH123  # pathlib would be an import of ours
    names = file.read().split("\n")
for name in names:
    if name not in sys.modules and name != "__main__":
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # made up at run time, such as `torch.classes`
print(time.monotonic(), flush=True)
