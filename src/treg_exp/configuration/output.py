"""Output that cannot be written, because nobody reads it any more: it is dropped, and the work goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Output:
    """A stream that is silent from its first error on; what it is asked for otherwise, the stream behind it answers.

    Args:
        stream: of text.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """See ``TextIOBase.write``."""
        try:
            return int(self.stream.write(text))
        except OSError:  # the pipe is closed, the terminal gone, the disk behind it full
            self._drop()
            return len(text)

    def flush(self) -> None:
        """See ``TextIOBase.flush``."""
        try:
            self.stream.flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        """Send the rest nowhere; what the stream holds back would fail again at the end of the program."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def output_that_stops_nothing() -> Iterator[None]:
    """Within it, stdout and stderr may be closed, from the start or at any time."""
    before = sys.stdout, sys.stderr
    made = [Output(_open(stream, number)) for number, stream in enumerate(before, 1)]
    sys.stdout, sys.stderr = made
    try:
        yield
    finally:
        for stream in made:
            stream.flush()
        sys.stdout, sys.stderr = before


def _open(stream: Any, number: int) -> Any:
    """The stream; where the program was started without it, one that leads nowhere."""
    if stream is not None:
        return stream
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.fstat(number)
    except OSError:  # else the next file that is opened gets this number, and further processes write into it
        os.dup2(nowhere, number)
    return os.fdopen(nowhere, "w")
