"""Read a checkpoint with bounds on memory, and tell what Python was asked to do meanwhile.

    read_watched.py FOLDER GOOD BAD NUM_BYTES

Reads the iteration GOOD first, so that everything is loaded, and then BAD with as much memory more.
Writes one JSON object: `outcome` is `read`, or the type of the error; `events` are those of
`sys.audit`, with what they are about.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from trainers.checkpoints import CheckpointReader

IDENTITY = "0123456789abcdef"


def address_space() -> int:
    """Of this process, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def main() -> None:
    folder, good, bad, num_bytes = Path(sys.argv[1]), *map(int, sys.argv[2:])
    reader = CheckpointReader(folder, fingerprint=IDENTITY)
    reader.load(good)
    events: list[list[str]] = []
    is_over = False

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if not is_over:
            events.append([event, str(arguments[0]) if arguments else ""])

    limit = address_space() + num_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.addaudithook(note)
    try:
        reader.load(bad)
        outcome = "read"
    except Exception as error:
        outcome = type(error).__name__
    is_over = True
    sys.stdout.write(json.dumps({"outcome": outcome, "events": events}))


if __name__ == "__main__":
    main()
