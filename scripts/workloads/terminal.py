"""A terminal of a chosen size, for a command that is to believe in it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen


@frozen
class Shown:
    """What a command sent to its terminal."""

    text: str
    exit_code: int


def in_terminal(
    command: Sequence[str],
    *,
    columns: int = 100,
    lines: int = 30,
    environment: Mapping[str, str] | None = None,
    until: Callable[[str], bool] = lambda text: False,
) -> Shown:
    """Run a command in a terminal of its own; return all that it was sent, errors among it.

    Args:
        environment: Of the command; None is that of this process, with a terminal of 256 colors.
        until: Asked with all that was sent so far; once it is true, the command is interrupted, as
            by Ctrl-C.
    """
    if environment is None:
        environment = {**os.environ, "TERM": "xterm-256color"}
    own, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    with subprocess.Popen(
        command,
        stdin=its,
        stdout=its,
        stderr=its,
        env=dict(environment),
        preexec_fn=_heed_interrupts,
    ) as process:
        os.close(its)
        sent, is_interrupted = b"", False
        try:
            while part := os.read(own, 65536):
                sent += part
                if not is_interrupted and until(sent.decode(errors="replace")):
                    process.send_signal(signal.SIGINT)
                    is_interrupted = True
        except OSError:  # so a terminal says that nobody writes any more
            pass
    os.close(own)
    return Shown(sent.decode().replace("\r\n", "\n"), process.returncode)


def _heed_interrupts() -> None:
    """What a shell starts in the background ignores them, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
