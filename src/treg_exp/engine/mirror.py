"""What the application asks of a logger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., None])


class RunMirror(Protocol):
    """Shows a run elsewhere, beside the run folder, which stays the only truth.

    It is a Lightning callback as well, and sees every batch that way. No failure of it may end a run.
    """

    def start(self, run_dir: Path, config: Mapping[str, Any], group: str | None) -> None:
        """The run begins or is continued; first process only."""
        ...

    def finish(
        self, rows: Collection[Mapping[str, Any]], summary: Mapping[str, Any], picture: Callable[..., Path]
    ) -> None:
        """The run is complete; first process only."""
        ...

    def close(self, exit_code: int) -> None:
        """The last call, however the run ended."""
        ...


def never_fatal(method: F) -> F:
    """A failure of a mirror's method is logged once and switches the mirror off; the run goes on.

    Args:
        method: of an object with ``broken`` and ``service``, its name for people.
    """

    @wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.broken:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.broken = True
            log.warning("%s failed and is off for the rest of this run (results stay): %s", self.service, error)

    return guarded  # type: ignore[return-value]
