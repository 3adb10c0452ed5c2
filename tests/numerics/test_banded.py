"""Products by parts are those of the whole matrix."""

from __future__ import annotations

import pytest
import torch

from treg_exp.numerics.banded import bands, on_columns, on_rows
from treg_exp.operators.linear.bicubic import bicubic_matrix
from treg_exp.operators.linear.blur import gaussian_axis

CASES = {
    "bicubic": bicubic_matrix(4, 512).float(),
    "its adjoint": bicubic_matrix(4, 512).float().mT,
    "blur": gaussian_axis(3.0, 61, 300, "zero", 0.0).matrix,
    "circular blur": gaussian_axis(3.0, 61, 300, "circular", 0.0).matrix,
    "rows of zeros": torch.nn.functional.pad(torch.eye(100), (0, 0, 0, 60)),
    "dense": torch.randn(70, 90, generator=torch.Generator().manual_seed(0)),
    "one row": torch.ones(1, 8),
}


@pytest.mark.parametrize("name", CASES)
def test_products(name: str) -> None:
    matrix = CASES[name]
    x = torch.randn(2, 3, matrix.shape[1], matrix.shape[1], generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(on_rows(matrix, bands(matrix), x), matrix @ x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(on_columns(matrix, bands(matrix), x), x @ matrix.mT, rtol=1e-5, atol=1e-5)


def test_a_wide_blur_multiplies_a_third_of_its_matrix_and_a_dense_one_all() -> None:
    parts = bands(gaussian_axis(3.0, 61, 512, "zero", 0.0).matrix)
    assert sum((r.stop - r.start) * (c.stop - c.start) for r, c in parts) < 512 * 512 / 3
    assert len(bands(CASES["dense"])) == 1
