"""What non-linear operators promise, checked for every such preset."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor

from tests.operators.conftest import IDS
from tests.operators.signals import by_autograd, smooth
from tests.operators.tasks import NONLINEAR, load_task, smallest_shape
from treg_exp.errors import FieldError
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.linear.composition import Composition
from treg_exp.operators.linear.masking import Identity
from treg_exp.operators.methods import CG, Descent
from treg_exp.tasks.inverse import InverseTask


@pytest.fixture(scope="module", params=NONLINEAR)
def preset(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def shape(preset: str) -> tuple[int, ...]:
    return smallest_shape(preset)


@pytest.fixture(scope="module")
def task(preset: str) -> InverseTask:
    return load_task(preset)


@pytest.fixture
def operator(task: InverseTask, shape: tuple[int, ...]) -> Operator:
    operator = task.build(shape, IDS)
    assert not operator.linear
    assert not isinstance(operator, LinearOperator)
    return operator


@pytest.fixture
def x(operator: Operator) -> Tensor:
    return smooth(operator.signal_shape, 3, seed=1)


@pytest.fixture
def other(x: Tensor) -> Tensor:
    return x.roll(1, 0)


def test_gradient_is_that_of_half_the_squared_residual(
    task: InverseTask, operator: Operator, x: Tensor, other: Tensor
) -> None:
    y = operator.A(other) + 0.1
    gradient = operator.gradient(y, x)
    assert gradient.shape == x.shape
    assert bool(gradient.isfinite().all())
    if "jpeg" not in task.name and "hdr" not in task.name:  # their gradients are those of other functions, by design
        way = 1e-2 * gradient / gradient.norm()

        def half(z: Tensor) -> Tensor:
            return operator.residual(y, z).double().square().sum() / 2

        assert float((gradient * way).sum()) == pytest.approx(float((half(x + way) - half(x - way)) / 2), rel=0.05)


def test_the_batch_changes_nothing(operator: Operator, x: Tensor) -> None:
    y = operator.A(x) + 0.1
    for i in range(3):
        part = slice(i, i + 1)
        torch.testing.assert_close(operator[i].A(x[part]), operator.A(x)[part], rtol=1e-5, atol=1e-6)
        alone, together = operator[i].gradient(y[part], x[part]), operator.gradient(y, x)[part]
        torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-6)


def test_measurements_are_reproducible(
    task: InverseTask, operator: Operator, x: Tensor, shape: tuple[int, ...]
) -> None:
    whole, alone = task.measure(x, IDS, shape), task.measure(x[1:2], IDS[1:2], shape)
    torch.testing.assert_close(alone.y, whole.y[1:2], rtol=1e-5, atol=1e-6)
    assert whole.lam == alone.lam >= 0
    again = pickle.loads(pickle.dumps(task)).build(shape, IDS)
    assert again.fingerprint() == operator.fingerprint() == pickle.loads(pickle.dumps(operator)).fingerprint()
    assert task.build((shape[0], *(2 * n for n in shape[1:])), IDS).fingerprint() != operator.fingerprint()
    assert operator.preview(whole.y).shape == x.shape


def test_what_needs_an_adjoint_does_not_exist(operator: Operator, x: Tensor) -> None:
    for name in ("adjoint", "pinv", "null_space"):
        assert not hasattr(operator, name)
    with pytest.raises(FieldError, match=r"^prox=CG: solves linear equations, and \w+ is non-linear; take Exact or"):
        operator.prox(operator.A(x), x, 0.1, CG())


def test_mistakes_are_named(operator: Operator, x: Tensor) -> None:
    with pytest.raises(FieldError, match=r"^x=\(.*\): does not fit"):
        operator.A(x[..., 1:])
    with pytest.raises(FieldError, match=r"^x=\(3, .*\): 3 samples, but y has 2; both must have the same number"):
        operator.gradient(operator.A(x)[:2], x)
    with pytest.raises(FieldError, match=r"^second=\w+: is non-linear; NonlinearComposition takes such parts"):
        Composition(Identity, lambda signal_shape: operator, x.shape[1:], IDS)


def test_the_proximal_step_lowers_its_objective_and_stays_where_the_ridge_is_strong(
    operator: Operator, x: Tensor, other: Tensor
) -> None:
    y = operator.A(other)
    moved = operator.prox(y, x, 1e-3 * operator.norm_sq)
    before, after = (operator.residual(y, z).square().flatten(1).sum(1) for z in (x, moved))
    assert bool((after + 1e-3 * operator.norm_sq * (moved - x).square().flatten(1).sum(1) <= before).all())
    assert float((after / before).max()) < 0.5
    torch.testing.assert_close(operator.prox(y, x, 1e6), x, rtol=0, atol=1e-4)
    for i in range(3):
        part = slice(i, i + 1)
        alone = operator[i].prox(y[part], x[part], 1e-3 * operator.norm_sq, Descent(5))
        torch.testing.assert_close(
            alone, operator.prox(y, x, 1e-3 * operator.norm_sq, Descent(5))[part], rtol=0, atol=1e-5
        )


def test_closed_gradients_are_those_of_autograd(operator: Operator, x: Tensor, other: Tensor) -> None:
    x = 1.3 * x  # some of it outside [-1, 1]
    y = operator.A(other) + 0.1
    torch.testing.assert_close(operator.gradient(y, x), by_autograd(operator, y, x), rtol=1e-4, atol=1e-5)
