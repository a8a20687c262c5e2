"""The command `launch`: its arguments, its commands and their output. Nothing else prints."""

from launcher.cli.command_line import main

__all__ = ["main"]
