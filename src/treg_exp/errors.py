"""The mistakes that this program expects. Whoever raises one says it in one line; everything else is a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A setting that cannot work; the message names its place in the configuration, what is allowed and what to do.

    For code that knows the configuration. The library raises a `FieldError` or a `FileError`.
    """


class RunBusyError(ConfigError):
    """Another process writes the run folder."""


class FieldError(ValueError):
    """A value that a piece of the library cannot take.

    The library knows the names of its own arguments. Whoever built the piece from a configuration knows where the
    value stood there, and puts that path in front of ``field``.

    Attributes:
        field: name of the argument; empty where the piece as a whole does not fit, then ``value`` says what it is.
        value: what it was given.
        allowed: what is allowed, and what to do.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}={_shown(value)}: {allowed}" if field else f"{_shown(value)}: {allowed}")
        self.field, self.value, self.allowed = field, value, allowed

    def __reduce__(self) -> tuple[type[FieldError], tuple[str, object, str]]:
        """Exceptions are pickled by their message alone unless told otherwise."""
        return type(self), (self.field, self.value, self.allowed)

    def at(self, path: str) -> FieldError:
        """The same complaint about ``path.field``."""
        return FieldError(".".join(part for part in (path, self.field) if part), self.value, self.allowed)


class FileError(ValueError):
    """A file that cannot be used; the message names it and says what to do."""


class RunFailedError(RuntimeError):
    """The run ended, but some work items failed; what was finished is kept."""


class PrunedError(RuntimeError):
    """A search has ended the run early; what was finished is kept."""


def is_interruption(error: SystemExit) -> bool:
    """Whether it is what Lightning makes of Ctrl-C and of SIGTERM; else somebody has called ``sys.exit``."""
    return isinstance(error.__context__, KeyboardInterrupt) or type(error).__name__ == "SIGTERMException"


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The hint "; did you mean x?", or nothing where nothing is near."""
    found = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def _shown(value: object) -> object:
    """A value as a configuration writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return value
