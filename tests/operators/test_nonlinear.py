"""What non-linear operators promise, checked for every such preset, and their formulas."""

from __future__ import annotations

import io
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from tests.operators.conftest import IDS
from tests.operators.tasks import NONLINEAR, load_task
from treg_exp.operators.linear.composition import Composition
from treg_exp.operators.nonlinear.composition import NonlinearComposition
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.linear.masking import Identity, RandomInpainting
from treg_exp.operators.methods import CG, Descent
from treg_exp.operators.noise.gaussian import GaussianNoise
from treg_exp.operators.nonlinear.base.base.base import NonlinearOperator, NonlinearOperatorError
from treg_exp.operators.nonlinear.intensity import GammaCorrection, HighDynamicRange
from treg_exp.operators.nonlinear.jpeg import JPEG
from treg_exp.operators.nonlinear.phase import PhaseRetrieval
from treg_exp.tasks.inverse import InverseTask
from treg_exp.solvers.base import Solver
from treg_exp.solvers.linear import Adjoint, PseudoInverse
from treg_exp.solvers.treg import TReg
from treg_exp.solvers.unconditional import Unconditional

SHAPE = (3, 32, 48)


@pytest.fixture(scope="module", params=NONLINEAR)
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(request.param)


@pytest.fixture
def operator(task: Task) -> NonlinearOperator:
    operator = task.build(SHAPE, IDS)
    assert isinstance(operator, NonlinearOperator)
    return operator


@pytest.fixture
def x() -> torch.Tensor:
    return smooth(3)


def smooth(count: int) -> torch.Tensor:
    coarse = torch.rand(count, 3, 5, 7, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, SHAPE[1:], mode="bilinear")


def test_gradient_is_that_of_half_the_squared_residual(
    task: Task, operator: NonlinearOperator, x: torch.Tensor
) -> None:
    y = operator.A(smooth(3).roll(1, 0)) + 0.1
    gradient = operator.gradient(y, x)
    assert gradient.shape == x.shape
    assert bool(gradient.isfinite().all())
    if "jpeg" not in task.name and "hdr" not in task.name:  # their gradients are those of other functions, by design
        way = 1e-2 * gradient / gradient.norm()

        def half(z: torch.Tensor) -> torch.Tensor:
            return operator.residual(y, z).double().square().sum() / 2

        assert float((gradient * way).sum()) == pytest.approx(float((half(x + way) - half(x - way)) / 2), rel=0.05)


def test_the_batch_changes_nothing(operator: NonlinearOperator, x: torch.Tensor) -> None:
    y = operator.A(x) + 0.1
    for i in range(3):
        part = slice(i, i + 1)
        torch.testing.assert_close(operator[i].A(x[part]), operator.A(x)[part], rtol=1e-5, atol=1e-6)
        alone, together = operator[i].gradient(y[part], x[part]), operator.gradient(y, x)[part]
        torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-6)


def test_measurements_are_reproducible(task: Task, operator: NonlinearOperator, x: torch.Tensor) -> None:
    whole, alone = task.measure(x, IDS), task.measure(x[1:2], IDS[1:2])
    torch.testing.assert_close(alone.y, whole.y[1:2], rtol=1e-5, atol=1e-6)
    assert whole.lam == alone.lam >= 0
    again = pickle.loads(pickle.dumps(task)).build(SHAPE, IDS)
    assert again.fingerprint() == operator.fingerprint() == pickle.loads(pickle.dumps(operator)).fingerprint()
    assert task.build((3, 64, 64), IDS).fingerprint() != operator.fingerprint()
    assert operator.preview(whole.y).shape == x.shape


def test_what_does_not_exist_says_so(operator: NonlinearOperator, x: torch.Tensor) -> None:
    y = operator.A(x)
    for call in (
        lambda: operator.adjoint(y),
        lambda: operator.pinv(y),
        lambda: operator.null_space(x),
        lambda: operator.prox(y, x, 0.1, CG()),
    ):
        with pytest.raises(NonlinearOperatorError, match=r"is non-linear and has none.*solver=unconditional.*=treg"):
            call()
    with pytest.raises(ValueError, match=r"x: shape .* does not fit"):
        operator.A(x[..., 1:])
    with pytest.raises(ValueError, match="y and x: 2 and 3 samples, but both must have the same number"):
        operator.gradient(y[:2], x)
    with pytest.raises(ValueError, match=r"second: .*non-linear; NonlinearComposition takes such parts"):
        Composition(Identity, lambda signal_shape: operator, SHAPE, IDS)


def test_the_proximal_step_lowers_its_objective_and_stays_where_the_ridge_is_strong(
    operator: NonlinearOperator, x: torch.Tensor
) -> None:
    y = operator.A(smooth(3).roll(1, 0))
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


def test_descent_reaches_the_exact_proximal_step_of_a_linear_operator(x: torch.Tensor) -> None:
    operator = GaussianBlur(sigma=1.0, kernel_size=7, signal_shape=SHAPE)
    y = operator.A(smooth(3).roll(1, 0))
    torch.testing.assert_close(operator.prox(y, x, 0.1, Descent(200)), operator.prox(y, x, 0.1), rtol=0, atol=1e-3)


def test_the_first_step_on_magnitudes_takes_the_measured_ones_and_keeps_the_phases(x: torch.Tensor) -> None:
    operator = PhaseRetrieval(2.0, SHAPE, unit_range=False)
    y = operator.A(smooth(3).roll(1, 0))
    vertical, horizontal = SHAPE[1] // 4, SHAPE[2] // 4
    padded = torch.nn.functional.pad(x, (horizontal, horizontal, vertical, vertical))
    phases = torch.fft.fftshift(torch.fft.fft2(padded, norm="ortho"), dim=(-2, -1)).angle()
    spectrum = torch.fft.ifftshift(torch.polar(y, phases), dim=(-2, -1))
    expected = torch.fft.ifft2(spectrum, norm="ortho").real[..., vertical:-vertical, horizontal:-horizontal]
    torch.testing.assert_close(operator.prox(y, x, 0.0, Descent(1)), expected, rtol=0, atol=1e-4)


def test_a_composition_does_one_after_the_other(x: torch.Tensor) -> None:
    blur = GaussianBlur(sigma=1.0, kernel_size=7, signal_shape=SHAPE)
    darken = GammaCorrection(2.2, SHAPE)
    both = NonlinearComposition(lambda signal_shape: darken, lambda signal_shape: blur, SHAPE, IDS)
    torch.testing.assert_close(both.A(x), blur.A(darken.A(x)))
    assert both.norm_sq == blur.norm_sq
    assert both.preview(both.A(x)).shape == x.shape
    exact = NonlinearComposition(
        lambda signal_shape: blur, lambda signal_shape: JPEG(50, signal_shape, rounding="exact"), SHAPE, IDS
    )
    assert both.differentiable
    assert not exact.differentiable
    with pytest.raises(NonlinearOperatorError, match="gradient: NonlinearComposition has none as configured"):
        exact.gradient(exact.A(x), x)


def test_light_spreads_further_than_its_encoding() -> None:
    """A bright point on black: in linear light the blurred point is brighter, as 0.1 of the light looks like 0.35."""
    task = load_task("nonlinear_deblur")
    point = torch.full((1, *SHAPE), -1.0)
    point[..., 16, 24] = 1.0
    operator = task.build(SHAPE, ["a"])
    encoded = GaussianBlur(3.0, 25, SHAPE, "reflect").A(point)
    expected = 2 * ((encoded + 1) / 2).clamp(1e-3, 1) ** (1 / 2.2) - 1
    torch.testing.assert_close(operator.A(point), expected, rtol=0, atol=5e-3)
    assert float((operator.A(point) - encoded).max()) > 0.2


def test_a_wrongly_saturated_pixel_is_led_back() -> None:
    operator = HighDynamicRange(2.0, (3, 1, 3))
    truth = torch.tensor([0.2, -0.3, 0.9]).expand(1, 3, 1, 3)
    start = torch.tensor([0.9, -0.8, 0.6]).expand(1, 3, 1, 3)
    restored = operator.prox(operator.A(truth), start, 0.0)
    torch.testing.assert_close(restored[..., :2], truth[..., :2], rtol=0, atol=1e-3)
    torch.testing.assert_close(restored[..., 2], start[..., 2])  # both saturated: nothing to say


def test_holes_of_a_mask_at_the_end_stay_without_noise(x: torch.Tensor) -> None:
    make = partial(NonlinearComposition, partial(GammaCorrection, 2.2), partial(RandomInpainting, 0.5))
    task = Task(operator=make, noise=GaussianNoise(0.1), name="t")
    measurement = task.measure(x, IDS)
    assert isinstance(measurement.operator, NonlinearComposition)
    mask = measurement.operator.second.measured()
    assert int(mask.sum()) == mask.numel() // 2
    assert torch.equal(measurement.operator.measured(), mask)
    assert torch.equal(measurement.y * mask, measurement.y)


@pytest.mark.parametrize("solver", [Adjoint(), PseudoInverse()])
def test_solvers_refuse_at_the_start(operator: NonlinearOperator, solver: object) -> None:
    with pytest.raises(
        ValueError,
        match=r"^solver=(adjoint|pseudo_inverse) needs a linear operator; .*solver=treg or solver=unconditional$",
    ):
        solver.check(operator)
    for able in (Unconditional(), TReg()):
        able.check(operator)
    with pytest.raises(ValueError, match=r"solver.prox=CG solves linear equations"):
        TReg(prox=CG()).check(operator)
    solver.check(Identity(SHAPE))


def test_treg_refuses_an_operator_without_a_gradient() -> None:
    exact = JPEG(10, SHAPE, "exact")
    with pytest.raises(ValueError, match=r"^solver=treg needs the gradient of the data term; JPEG has none"):
        TReg().check(exact)
    Unconditional().check(exact)


@pytest.mark.parametrize("solver", [Adjoint(), PseudoInverse()])
def test_a_refusal_names_only_solvers_that_can(solver: Solver, x: torch.Tensor) -> None:
    exact = JPEG(10, SHAPE, "exact")
    with pytest.raises(ValueError, match=r"Choose a linear task, or solver=unconditional$"):
        solver.check(exact)
    with pytest.raises(NonlinearOperatorError, match=r"A alone exists\. .*can run it \(solver=unconditional\)$"):
        exact.pinv(x)


def by_autograd(operator: NonlinearOperator, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(operator.residual(y, x).double().square().sum() / 2, x)
    return gradient


def test_closed_gradients_are_those_of_autograd(operator: NonlinearOperator) -> None:
    x = 1.3 * smooth(3)  # some of it outside [-1, 1]
    y = operator.A(smooth(3).roll(1, 0)) + 0.1
    torch.testing.assert_close(operator.gradient(y, x), by_autograd(operator, y, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.2])
def test_the_slope_of_a_gamma_curve_ends_where_it_is_clamped(gamma: float) -> None:
    operator = GammaCorrection(gamma, (3, 1, 7), floor=0.1)
    x = torch.tensor([-1.5, -1.0, -0.8, 0.0, 0.5, 1.0, 1.5]).expand(2, 3, 1, 7)
    y = torch.zeros(2, 3, 1, 7)
    gradient = operator.gradient(y, x)
    torch.testing.assert_close(gradient, by_autograd(operator, y, x))
    assert int(gradient[..., [0, 1, 6]].count_nonzero()) == 0


def test_formulas() -> None:
    x = torch.tensor([-1.0, -0.5, 0.0, 0.7, 1.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    gamma = GammaCorrection(2.0, (3, 1, 5), floor=0.0)
    torch.testing.assert_close(gamma.A(x)[0, 0, 0], torch.tensor([-1.0, -0.875, -0.5, 0.445, 1.0]))
    hdr = HighDynamicRange(2.0, (3, 1, 5))
    torch.testing.assert_close(hdr.A(x)[0, 0, 0], torch.tensor([-1.0, -1.0, 0.0, 1.0, 1.0]))


def test_phase_retrieval_sees_no_shift_and_no_turn() -> None:
    operator, x = PhaseRetrieval(2.0, (3, 16, 16)), torch.zeros(1, 3, 16, 16) - 1
    x[..., 4:9, 3:8] = torch.rand(5, 5)
    y = operator.A(x)
    assert operator.measurement_shape == (3, 24, 24)
    torch.testing.assert_close(operator.A(x.roll(3, -1)), y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(operator.A(x.flip(-1, -2)), y, rtol=1e-4, atol=1e-5)
    energy = ((x + 1) / 2).square().sum()
    torch.testing.assert_close(y.square().sum(), energy, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("subsample", [True, False])
@pytest.mark.parametrize("quality", [10, 75])
def test_jpeg_equals_libjpeg(quality: int, subsample: bool) -> None:
    levels = ((smooth(1)[0] + 1) * 127.5).round()
    stream = io.BytesIO()
    picture = Image.fromarray(levels.permute(1, 2, 0).byte().numpy())
    picture.save(stream, "JPEG", quality=quality, subsampling=2 if subsample else 0)
    expected = torch.from_numpy(np.asarray(Image.open(stream)).copy()).permute(2, 0, 1).float()
    y = (JPEG(quality, SHAPE, "exact", subsample).A(levels[None] / 127.5 - 1)[0] + 1) * 127.5
    error = (y - expected).square().mean().sqrt()
    lost = (levels - expected).square().mean().sqrt()
    assert float(error) < 2.0  # it computes in whole numbers: some coefficients are rounded the other way
    assert float(error) < 0.3 * float(lost)


def test_exact_rounding_has_no_gradient(x: torch.Tensor) -> None:
    through, exact = (JPEG(10, SHAPE, rounding) for rounding in ("straight_through", "exact"))
    torch.testing.assert_close(through.A(x), exact.A(x), rtol=0, atol=1e-4)
    with pytest.raises(NonlinearOperatorError, match="gradient: JPEG has none as configured"):
        exact.gradient(exact.A(x), x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GammaCorrection(0, SHAPE), "gamma=0: must be > 0"),
        (lambda: GammaCorrection(0.5, SHAPE, floor=0), "floor=0: must be in"),
        (lambda: HighDynamicRange(-1, SHAPE), "scale=-1: must be > 0"),
        (lambda: JPEG(0, SHAPE), "quality=0: must be an integer in 1 ... 100"),
        (lambda: JPEG(10, SHAPE, "round"), "rounding='round': must be one of straight_through, exact"),
        (lambda: PhaseRetrieval(-1, SHAPE), "oversampling=-1: must be >= 0"),
    ],
)
def test_mistakes_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
