"""The sum of several sources."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.operators.linear.composition import Composition
from treg_exp.operators.linear.sample_mask import SampleMask
from treg_exp.operators.linear.source_sum import SourceSum


@pytest.mark.parametrize("shape", [(1, 32), (3, 8, 6)], ids=str)
def test_every_source_gets_the_same_share_of_what_is_missing(shape: tuple[int, ...]) -> None:
    operator, x = SourceSum(3, shape), torch.randn(2, 3, *shape)
    assert operator.signal_shape == (3, *shape)
    assert operator.measurement_shape == shape
    assert operator.norm_sq == 3
    y = operator.A(x)
    torch.testing.assert_close(y, x[:, 0] + x[:, 1] + x[:, 2])
    torch.testing.assert_close(operator.prox(y + 6, x, 0.0), x + 2)
    torch.testing.assert_close(operator.prox(y + 6, x, 3.0), x + 1)
    torch.testing.assert_close(operator.pinv(y), (y / 3)[:, None].expand_as(x))


def test_a_part_of_the_sum_may_be_hidden() -> None:
    operator = Composition(partial(SourceSum, 2), partial(SampleMask, gap=(0.0, 0.5)), (1, 32), ["a"])
    assert (operator.signal_shape, operator.measurement_shape) == ((2, 1, 32), (1, 32))
    x = torch.randn(1, 2, 1, 32)
    y = operator.A(x)
    assert int(y.count_nonzero()) == 16
    torch.testing.assert_close(operator.A(operator.prox(y, 0 * x, 0.0)), y)


def test_a_number_of_sources_is_whole() -> None:
    with pytest.raises(FieldError, match=r"^sources=1\.5: must be an integer >= 1"):
        SourceSum(1.5, (1, 32))
