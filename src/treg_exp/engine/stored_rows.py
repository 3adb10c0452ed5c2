"""The rows of a run in the order of its plan. They stay in their files: of very many no list is made."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack

import numpy as np

from treg_exp.engine.plan import Plan
from treg_exp.run_layout import Row, RunLayout, key_of, row_in

NOWHERE = -1


class StoredRows(Collection[Row]):
    """What a run has finished, read anew by every iteration; nobody writes the folder meanwhile.

    Of rows with the same key the first counts, and rows of other work items are left out.

    Args:
        layout: of the run folder.
        plan: of the run.
    """

    def __init__(self, layout: RunLayout, plan: Plan) -> None:
        self._files = sorted(layout.rows.glob("*.jsonl"))
        self._file = np.full(len(plan), NOWHERE, dtype=np.int32)  # by position in the plan: number of the file
        self._start = np.zeros(len(plan), dtype=np.int64)  # and where in it the line begins
        for number, file in enumerate(self._files):
            start = 0
            with file.open("rb") as stream:
                for line in stream:
                    position = None if (row := row_in(line)) is None else plan.position(key_of(row))
                    if position is not None and self._file[position] == NOWHERE:
                        self._file[position], self._start[position] = number, start
                    start += len(line)

    def __len__(self) -> int:
        return int((self._file != NOWHERE).sum())

    def __contains__(self, row: object) -> bool:
        return any(row == own for own in self)

    def __iter__(self) -> Iterator[Row]:
        with ExitStack() as opened:
            streams = [opened.enter_context(file.open("rb")) for file in self._files]
            for position in np.flatnonzero(self._file != NOWHERE):
                stream = streams[self._file[position]]
                stream.seek(int(self._start[position]))
                if (row := row_in(stream.readline())) is not None:
                    yield row
