"""What the bar counts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from treg_exp.engine.progress import StepProgress

STEP = SimpleNamespace()


@pytest.mark.parametrize(("steps", "taken"), [(3, 3), (3, 12), (3, 0), (0, 0)])
def test_a_batch_counts_once_however_many_steps_it_took(steps: int, taken: int) -> None:
    progress = StepProgress(steps, batches=2)
    progress.on_predict_start(SimpleNamespace(is_global_zero=True), None)
    for batch in (1, 2):
        for _ in range(taken):
            progress.on_step(STEP)
        assert progress.bar.n <= max(steps, 1) * batch
        progress.on_predict_batch_end()
        assert progress.bar.n == max(steps, 1) * batch
    assert progress.bar.n == progress.bar.total
    progress.on_predict_end(None, None)
