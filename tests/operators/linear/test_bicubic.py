"""Bicubic downsampling against its formula and against other libraries."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from treg_exp.operators.linear.bicubic import BicubicDownsampling, bicubic_axis, bicubic_matrix


def keys(t: float) -> float:
    t = abs(t)
    if t <= 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


def reference_row(factor: int, size: int, i: int) -> torch.Tensor:
    """Row i by the definition: all inputs within two output samples of the centre, mirrored one by one."""
    centre = factor * (i + 0.5) - 0.5
    row = torch.zeros(size, dtype=torch.float64)
    for j in range(math.ceil(centre - 2 * factor), math.floor(centre + 2 * factor) + 1):
        place = j
        while not 0 <= place < size:
            place = -1 - place if place < 0 else 2 * size - 1 - place
        row[place] += keys((j - centre) / factor)
    return row / row.sum()


@settings(max_examples=40, deadline=None)
@given(factor=st.integers(1, 9), outputs=st.integers(1, 6))
def test_matrix_follows_the_definition(factor: int, outputs: int) -> None:
    size = factor * outputs
    expected = torch.stack([reference_row(factor, size, i) for i in range(outputs)])
    torch.testing.assert_close(bicubic_matrix(factor, size), expected, rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(factor=st.sampled_from([2, 3, 4, 8]), value=st.floats(-1, 1))
def test_a_constant_image_stays_constant(factor: int, value: float) -> None:
    operator = BicubicDownsampling(factor, (3, 24, 48))
    y = operator.A(torch.full((1, 3, 24, 48), value))
    torch.testing.assert_close(y, torch.full_like(y, value), rtol=0, atol=1e-6)


def test_taps_of_an_even_factor() -> None:
    (read,) = bicubic_matrix(4, 64)[7].nonzero(as_tuple=True)
    assert (int(read[0]), int(read[-1])) == (4 * 7 - 6, 4 * 7 + 10 - 1)


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_equals_the_matlab_operator_of_deepinv(factor: int) -> None:
    from deepinv.physics import DownsamplingMatlab

    x = torch.rand(2, 3, 64, 96) * 2 - 1
    operator, physics = BicubicDownsampling(factor, (3, 64, 96)), DownsamplingMatlab(factor=factor)
    y = operator.A(x)
    torch.testing.assert_close(y, physics.A(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(operator.adjoint(y), physics.A_adjoint(y), rtol=0, atol=1e-6)


def test_equals_the_antialiased_resize_of_torch_inside() -> None:
    x = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = BicubicDownsampling(16, (3, 256, 256)).A(x)
    other = torch.nn.functional.interpolate(x, size=(16, 16), mode="bicubic", antialias=True)
    inside = (..., slice(2, -2), slice(2, -2))  # torch renormalises at the edges, where we mirror
    torch.testing.assert_close(y[inside], other[inside], rtol=0, atol=1e-6)
    assert float((y - other).norm() / y.norm()) < 0.2


def test_singular_values_at_the_papers_setting() -> None:
    s = bicubic_axis(16, 512).s
    assert float(s.min()) == pytest.approx(0.175, abs=5e-4)
    assert float(s.max()) == pytest.approx(0.250, abs=5e-4)


def test_kernels_larger_than_the_image() -> None:
    operator = BicubicDownsampling(16, (3, 16, 32))
    x = torch.rand(1, 3, 16, 32)
    assert operator.A(x).shape == (1, 3, 1, 2)
    torch.testing.assert_close(operator.A(torch.ones_like(x)), torch.ones(1, 3, 1, 2))


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (0, "factor=0: must be an integer >= 1"),
        (2.5, "factor=2.5: must be an integer >= 1"),
        (7, "factor=7: must divide both sides of the image, which is 64x64"),
    ],
)
def test_mistakes_are_named(factor: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BicubicDownsampling(factor, (3, 64, 64))
    with pytest.raises(ValueError, match="rcond=0: must be in"):
        BicubicDownsampling(2, (3, 64, 64), rcond=0)
