"""A trainer that writes down what it has imported: `modules_at_start.py FILE RUN_FOLDER`.

FILE gets the names of all modules when the first iteration is done, in the order of their imports.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from trainers.__main__ import main


class _AtFirstIteration(logging.Handler):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        if " started " in record.getMessage():
            self._file.write_text("\n".join(sys.modules))


if __name__ == "__main__":
    logging.getLogger("trainers").addHandler(_AtFirstIteration(Path(sys.argv[1])))
    os._exit(main(sys.argv[2:]))
