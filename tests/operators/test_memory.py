"""What one call allocates at most, in sizes of the image; the counter is that of ``treg-exp bench operators``."""

from __future__ import annotations

import pytest
import torch

from treg_exp.bench import _memory
from treg_exp.operators import FourierLines, MotionBlur, Operator, PhaseRetrieval, SparseViewCT

SHAPE = (3, 128, 128)
MIB = 3 * 128 * 128 * 4 / 2**20


@pytest.mark.parametrize(
    ("operator", "A", "adjoint"),
    [
        (FourierLines(4.0, 0.08, SHAPE, ["a"]), 4.0, 3.34),
        (MotionBlur(15, 0.5, SHAPE, ["a"], boundary="reflect"), 2.55, 2.55),
        (PhaseRetrieval(2.0, SHAPE), 5.6, None),
        (SparseViewCT(20, SHAPE), 1.5, 2.1),
    ],
    ids=["mri", "motion, reflect", "phase", "ct"],
)
def test_peak(operator: Operator, A: float, adjoint: float | None) -> None:
    x = torch.rand(1, *SHAPE)
    y = operator.A(x)
    assert 1.0 <= _memory(lambda: operator.A(x)) / MIB <= A
    if adjoint is not None:
        assert 1.0 <= _memory(lambda: operator.adjoint(y)) / MIB <= adjoint


@pytest.mark.parametrize(
    "operator",
    [
        FourierLines(4.0, 0.08, SHAPE, ["a"]),
        MotionBlur(15, 0.5, SHAPE, ["a"], boundary="reflect"),
        MotionBlur(15, 0.5, SHAPE, ["a"], boundary="circular"),
        PhaseRetrieval(2.0, SHAPE),
    ],
    ids=["mri", "motion, reflect", "motion, circular", "phase"],
)
def test_one_channel_at_a_time_gives_the_same(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def results() -> list[torch.Tensor]:
        y = operator.A(x)
        return [y, operator.adjoint(y), operator.prox(y, 0.5 * x, 0.01)] if operator.linear else [y]

    one_at_a_time = results()
    monkeypatch.setattr("treg_exp.operators.channels.SMALL", 128 * 128)
    for one, together in zip(one_at_a_time, results(), strict=True):
        torch.testing.assert_close(one, together, atol=1e-4, rtol=1e-4)


def test_peak_of_a_step_that_is_iterated() -> None:
    """Conjugate gradients hold nine images; with one channel at a time these are three."""
    operator = MotionBlur(15, 0.5, SHAPE, ["a"], boundary="reflect")
    operator.exact_iterations = 5
    x = torch.rand(1, *SHAPE)
    y = operator.A(x)
    assert 3.0 <= _memory(lambda: operator.prox(y, x, 0.01)) / MIB <= 5.5


def test_projections_do_not_copy_their_indices() -> None:
    """The product needs them as int32, and makes a copy of wider ones: 13 images at 512 px."""
    operator = SparseViewCT(4, (3, 16, 16))
    for matrix in (operator._matrix, operator._transpose):
        assert {matrix.crow_indices().dtype, matrix.col_indices().dtype} == {torch.int32}
