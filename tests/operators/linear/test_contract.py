"""What every operator promises, checked for every preset of ``conf/task``."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor

from tests.operators.conftest import IDS
from tests.operators.tasks import DAMPED, LINEAR, UNDAMPED, load_task
from treg_exp.errors import FieldError
from treg_exp.numerics.cg import dot
from treg_exp.operators.in_range import prox_in_range
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.linear.deepinv_adapter import DeepinvOperator
from treg_exp.operators.methods import CG, Descent, Exact
from treg_exp.tasks.inverse import InverseTask

# Limited angles leave singular values of 1e-5: without damping, float32 and 500 iterations end earlier.
LOOSE = {"sparse_view_ct": 10.0}

undamped = pytest.mark.parametrize("preset", UNDAMPED, indirect=True)

METHODS = [Exact(), CG(iterations=5, tolerance=1e-4)]


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Largest difference, relative to the largest expected value."""
    assert actual.shape == expected.shape
    assert largest(actual - expected) <= tolerance * max(1.0, largest(expected))


def largest(values: Tensor) -> float:
    """Largest absolute value; 0 of an empty measurement."""
    return float(values.abs().max()) if values.numel() else 0.0


def ridge(operator: LinearOperator, relative: float) -> float:
    """A lambda in units of the operator's norm, which is 0 where nothing is measured."""
    return relative * (operator.norm_sq or 1.0)


def test_shapes_and_dtype(operator: LinearOperator, x: Tensor, y: Tensor) -> None:
    assert operator.signal_shape == tuple(x.shape[1:])
    assert operator.A(x).shape == (3, *operator.measurement_shape)
    assert operator.adjoint(y).shape == x.shape
    assert operator.A(x.to(torch.bfloat16)).dtype == torch.float32


def test_adjoint(operator: LinearOperator, x: Tensor, y: Tensor) -> None:
    image = operator.A(x)
    scale = (dot(image, image) * dot(y, y)).sqrt()
    error = (dot(image, y) - dot(x, operator.adjoint(y))).abs()
    assert bool((error <= 1e-5 * scale).all())


def test_linear(operator: LinearOperator, x: Tensor, x0: Tensor) -> None:
    together = operator.A(2 * x - 3 * x0)
    assert_near(together, 2 * operator.A(x) - 3 * operator.A(x0), 2e-6)


def test_norm(preset: str, operator: LinearOperator, x: Tensor) -> None:
    for _ in range(100):  # power iteration, independent of norm_sq
        x = operator.adjoint(operator.A(x))
        x = x / dot(x, x).sqrt().view(-1, *(1,) * (x.dim() - 1))
    image = operator.A(x)
    # what a mirror doubles comes on top where a kernel is nearly as large as the image
    assert float(dot(image, image).max()) == pytest.approx(operator.norm_sq, rel=0.25 if preset in DAMPED else 0.01)


@pytest.mark.parametrize("relative", [1e-3, 1e-2, 1.0, 100.0])
def test_prox_is_the_minimiser(operator: LinearOperator, x0: Tensor, y: Tensor, relative: float) -> None:
    assert_minimiser(operator, x0, y, ridge(operator, relative), 1e-5)


@undamped
def test_prox_without_damping_is_a_minimiser(preset: str, operator: LinearOperator, x0: Tensor, y: Tensor) -> None:
    assert_minimiser(operator, x0, y, 0.0, 1e-5 * LOOSE.get(preset, 1.0))


def assert_minimiser(operator: LinearOperator, x0: Tensor, y: Tensor, lam: float, tolerance: float) -> None:
    x = operator.prox(y, x0, lam)
    gradient = operator.adjoint(operator.A(x) - y) + lam * (x - x0)
    # float32 cannot give a smaller gradient than the rounding of the terms that cancel in it
    scale = dot(operator.adjoint(y), operator.adjoint(y)).sqrt() + operator.norm_sq * dot(x, x).sqrt()
    scale = scale + lam * dot(x0, x0).sqrt()
    assert bool((dot(gradient, gradient).sqrt() <= tolerance * scale).all())


@pytest.mark.parametrize(
    "preset",
    [pytest.param(name, marks=pytest.mark.slow if name in DAMPED else ()) for name in LINEAR],
    indirect=True,
)
def test_prox_in_range_is_the_minimiser_among_pictures(operator: LinearOperator, x0: Tensor, y: Tensor) -> None:
    """A projected gradient step from the minimiser leads back to it; the clamped minimiser is worse."""
    lam = ridge(operator, 0.01)
    best = prox_in_range(operator, y, x0, lam, iterations=100)
    gradient = operator.adjoint(operator.A(best) - y) + lam * (best - x0)
    step = (best - gradient / (operator.norm_sq + lam)).clamp(-1, 1)
    assert float(best.abs().max()) <= 1
    assert_near(step, best, 2e-3)

    def objective(x: Tensor) -> Tensor:
        error = operator.A(x) - y
        return dot(error, error) + lam * dot(x - x0, x - x0)

    clamped = prox_in_range(operator, y, x0, lam, iterations=0)
    assert bool((objective(prox_in_range(operator, y, x0, lam)) <= objective(clamped) * (1 + 1e-5)).all())


@undamped
def test_prox_without_damping_is_the_projection(preset: str, operator: LinearOperator, x: Tensor, x0: Tensor) -> None:
    y = operator.A(x)
    projected = operator.prox(y, x0, 0.0)
    assert_near(operator.A(projected), y, 2e-4 * LOOSE.get(preset, 1.0))
    assert_near(projected, x0 + operator.pinv(y - operator.A(x0)), 1e-5)
    if preset not in LOOSE:  # there, directions of tiny singular values move on with every projection
        assert_near(operator.prox(y, projected, 0.0), projected, 2e-3)


def test_conjugate_gradients_reach_the_closed_form(operator: LinearOperator, x0: Tensor, y: Tensor) -> None:
    lam = ridge(operator, 0.01)
    exact = operator.prox(y, x0, lam)
    iterated = operator.prox(y, x0, lam, CG(iterations=300, tolerance=1e-9))
    assert_near(iterated, exact, 1e-4)


def test_descent_lowers_the_objective(operator: LinearOperator, x0: Tensor, y: Tensor) -> None:
    lam = ridge(operator, 1.0)
    exact, descended = operator.prox(y, x0, lam), operator.prox(y, x0, lam, Descent(100))
    assert_near(descended, exact, 1e-3)


def test_one_iteration_is_between(operator: LinearOperator, x0: Tensor, y: Tensor) -> None:
    def objective(x: Tensor) -> Tensor:
        error, move = y - operator.A(x), x - x0
        return dot(error, error) + lam * dot(move, move)

    lam = ridge(operator, 0.01)
    start, one, exact = (objective(x) for x in (x0, operator.prox(y, x0, lam, CG(1)), operator.prox(y, x0, lam)))
    assert bool((one <= start).all())
    assert bool((exact <= one * (1 + 1e-5)).all())


@undamped
def test_pinv(preset: str, operator: LinearOperator, x: Tensor) -> None:
    y = operator.A(x)
    least = operator.pinv(y)
    assert_near(operator.A(least), y, 2e-4 * LOOSE.get(preset, 1.0))
    assert bool((dot(least, least) <= dot(x, x) * (1 + 1e-4)).all())
    for i in range(3):
        part = slice(i, i + 1)
        assert_near(least[part], operator[i].pinv(y[part]), 1e-5)


@undamped
def test_null_space(preset: str, operator: LinearOperator, x: Tensor) -> None:
    unseen = operator.null_space(x)
    assert unseen.shape == x.shape
    assert largest(operator.A(unseen)) <= 2e-4 * LOOSE.get(preset, 1.0) * largest(operator.A(x))
    if preset not in LOOSE:  # there, directions of tiny singular values leave with every projection
        assert_near(operator.null_space(unseen), unseen, 2e-3)


@pytest.mark.parametrize("method", METHODS, ids=["exact", "cg"])
def test_prox_of_a_batch_is_that_of_its_samples(
    operator: LinearOperator, x0: Tensor, y: Tensor, method: Exact | CG
) -> None:
    y = y * torch.tensor([1e-3, 1.0, 1e3]).view(3, *(1,) * (y.dim() - 1))  # they stop at different iterations
    lam = ridge(operator, 0.01)
    together = operator.prox(y, x0, lam, method)
    for i in range(3):
        alone = operator[i].prox(y[i : i + 1], x0[i : i + 1], lam, method)
        assert_near(together[i : i + 1], alone, 1e-6)


def test_maps_of_a_batch_are_those_of_its_samples(operator: LinearOperator, x: Tensor, y: Tensor) -> None:
    for i in range(3):
        part = slice(i, i + 1)
        assert_near(operator.A(x)[part], operator[i].A(x[part]), 1e-6)
        assert_near(operator.adjoint(y)[part], operator[part].adjoint(y[part]), 1e-6)


def test_selection(operator: LinearOperator, x: Tensor) -> None:
    assert torch.equal(operator[-1].A(x[-1:]), operator[2].A(x[2:]))
    assert_near(operator[1:].A(x[1:]), operator.A(x)[1:], 1e-6)
    assert operator[1:].fingerprint(0) == operator.fingerprint(1)


def test_fingerprint_identifies_the_parameters(
    preset: str, task: InverseTask, operator: LinearOperator, shape: tuple[int, ...]
) -> None:
    again = load_task(preset).build(shape, IDS)
    assert len(operator.fingerprint()) == 12
    assert [operator.fingerprint(i) for i in range(3)] == [again.fingerprint(i) for i in range(3)]
    assert operator.fingerprint() != task.build((shape[0], *(4 * n for n in shape[1:])), IDS).fingerprint()


def test_measured_entries(operator: LinearOperator, x: Tensor) -> None:
    measured = operator.measured()
    assert measured.shape[0] in (1, 3)
    assert bool(((measured == 0) | (measured == 1)).all())
    assert torch.equal(operator.A(x) * measured, operator.A(x))


def test_pickle(task: InverseTask, operator: LinearOperator, shape: tuple[int, ...], x: Tensor) -> None:
    again = pickle.loads(pickle.dumps(task)).build(shape, IDS)
    assert torch.equal(again.A(x), operator.A(x))
    if not isinstance(operator, DeepinvOperator):
        restored = pickle.loads(pickle.dumps(operator))
        assert torch.equal(restored.A(x), operator.A(x))


def test_gradient_flows_through_the_operator(operator: LinearOperator, x: Tensor, y: Tensor) -> None:
    x = x.requires_grad_()
    (gradient,) = torch.autograd.grad((operator.A(x) * y).sum(), x)
    assert_near(gradient, operator.adjoint(y), 1e-5)


def test_reduced_precision_of_the_caller_changes_nothing(operator: LinearOperator, x0: Tensor, y: Tensor) -> None:
    expected = operator.prox(y, x0, 0.01)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(operator.prox(y, x0, 0.01), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_wrong_shapes_are_named(operator: LinearOperator, x: Tensor, y: Tensor) -> None:
    with pytest.raises(FieldError, match=r"^x=\(3, .*\): does not fit \w+, which needs \(B, "):
        operator.A(x[..., 1:])
    with pytest.raises(FieldError, match=r"^y=\("):
        operator.prox(y[0], x, 0.1)
    with pytest.raises(FieldError, match=r"^lam=-1: must be >= 0"):
        operator.prox(y, x, -1)


def test_batches_of_different_sizes_are_refused(preset: str, shape: tuple[int, ...], x: Tensor, y: Tensor) -> None:
    shared = load_task(preset).build(shape, IDS[:1])  # parameters of one sample fit any batch
    for call in (shared.residual, shared.gradient):
        with pytest.raises(FieldError, match=r"^x=\(3, .*\): 3 samples, but y has 1; both must have the same number"):
            call(y[:1], x)
    with pytest.raises(FieldError, match=r"^x0=\(1, .*\): 1 samples, but y has 3"):
        shared.prox(y, x[:1], 0.1)
