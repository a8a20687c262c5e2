"""SandboxError
`- CannotHereError    this machine or this user cannot have a sandbox
"""


class SandboxError(Exception):
    """The message says what is wrong and what to do."""


class CannotHereError(SandboxError):
    """Root or a program is missing."""
