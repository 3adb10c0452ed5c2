"""What the application asks of a logger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class RunMirror(Protocol):
    """Shows a run elsewhere, beside the run folder, which stays the only truth.

    It is a Lightning callback as well, and sees every batch that way. No failure of it may end a run.
    """

    def start(self, run_dir: Path, config: Mapping[str, Any], group: str | None) -> None:
        """The run begins or is continued; first process only."""
        ...

    def finish(
        self, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], picture: Callable[..., Path]
    ) -> None:
        """The run is complete; first process only."""
        ...

    def close(self, exit_code: int) -> None:
        """The last call, however the run ended."""
        ...
