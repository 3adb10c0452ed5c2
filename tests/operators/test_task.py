"""Measuring: streams, lambda, real measurements."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from tests.operators.conftest import IDS
from tests.operators.tasks import LINEAR, NAMES, load_task, smallest_shape
from treg_exp.operators.base import Operator, is_random
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.linear.composition import Composition
from treg_exp.operators.linear.masking import Identity, RandomInpainting
from treg_exp.operators.linear.motion import MotionBlur
from treg_exp.operators.linear.radon import SparseViewCT
from treg_exp.operators.linear.random_masks import StrokeInpainting
from treg_exp.operators.methods import Descent
from treg_exp.operators.noise.gaussian import GaussianNoise
from treg_exp.operators.nonlinear.jpeg import JPEG
from treg_exp.tasks.inverse import InverseTask

SHAPE = (3, 32, 48)
Make = Callable[..., Operator]
NOISY = [name for name in LINEAR if load_task(name).noise.sigma > 0]


def picture() -> Tensor:
    return torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_measurement_depends_on_seed_and_name_only(task: InverseTask, x: Tensor, shape: tuple[int, ...]) -> None:
    assert_independent_of_the_batch(task, x, shape)


@pytest.mark.parametrize(
    ("first", "second", "norm_sq"),
    [
        (partial(GaussianBlur, 2.0, 9, boundary="circular"), partial(RandomInpainting, 0.3), 1.0),
        (partial(MotionBlur, 9, 0.5, boundary="reflect"), partial(AveragePooling, 4), 1 / 16),
        (partial(Composition, partial(RandomInpainting, 0.3), partial(AveragePooling, 2)), Identity, 1 / 4),
    ],
    ids=["blur, mask", "motion, mean", "nested"],
)
def test_a_measurement_by_drawn_parts_does_so_too(first: Make, second: Make, norm_sq: float) -> None:
    task = InverseTask(operator=partial(Composition, first, second), noise=GaussianNoise(0.01), name="t")
    x = picture()
    assert_independent_of_the_batch(task, x, SHAPE)
    operator = task.build(SHAPE, IDS)
    assert operator.norm_sq == operator[1].norm_sq == pytest.approx(norm_sq, rel=1e-4)


def assert_independent_of_the_batch(task: InverseTask, x: Tensor, shape: tuple[int, ...]) -> None:
    whole = task.measure(x, IDS, shape)
    torch.manual_seed(99)
    order = [2, 0, 1]
    shuffled = task.measure(x[order], [IDS[i] for i in order], shape)
    for place, i in enumerate(order):
        alone = task.measure(x[i : i + 1], IDS[i : i + 1], shape)
        torch.testing.assert_close(alone.y[0], whole.y[i], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(shuffled.y[place], whole.y[i], rtol=1e-6, atol=1e-6)
        assert alone.operator.fingerprint() == whole.operator.fingerprint(i)
        assert alone.lam == shuffled.lam == whole.lam


@pytest.mark.parametrize("preset", NOISY, indirect=True)
def test_the_seed_changes_the_noise(preset: str, task: InverseTask, x: Tensor, shape: tuple[int, ...]) -> None:
    y, other = task.measure(x, IDS, shape).y, load_task(preset, seed=7)
    assert not torch.equal(y, other.measure(x, IDS, shape).y)
    assert not torch.equal(y, task.measure(x, ("other", "three", "one"), shape).y)


def test_noise_has_the_stated_level() -> None:
    task, x = load_task("denoising"), picture()
    measurement = task.measure(x, IDS)
    assert float((measurement.y - x).std()) == pytest.approx(0.2, rel=0.03)
    assert measurement.sigma == 0.2


def test_entries_without_a_measurement_stay_zero(task: InverseTask, x: Tensor, shape: tuple[int, ...]) -> None:
    measurement = task.measure(x, IDS, shape)
    assert torch.equal(measurement.y * measurement.operator.measured(), measurement.y)


def test_lambda_gives_the_measurement_its_information(task: InverseTask, x: Tensor, shape: tuple[int, ...]) -> None:
    measurement = task.measure(x, IDS, shape)
    weight = 1 / (1 + (measurement.sigma / task.tau) ** 2)
    assert measurement.operator.norm_sq == pytest.approx(weight * (measurement.operator.norm_sq + measurement.lam))


def test_without_noise_the_step_is_a_projection() -> None:
    task, x = load_task("sr_x4", noise__sigma=0.0), picture()
    measurement = task.measure(x, IDS)
    assert measurement.lam == 0
    assert torch.equal(measurement.y, measurement.operator.A(x))


def test_real_measurements_are_taken_as_they_are(task: InverseTask, x: Tensor, shape: tuple[int, ...]) -> None:
    made = task.measure(x, IDS, shape)
    given = task.observe(made.y.double(), shape, IDS)
    assert torch.equal(given.y, made.y)
    assert (given.lam, given.sigma) == (made.lam, made.sigma)
    assert given.operator.fingerprint() == made.operator.fingerprint()


def test_a_real_measurement_of_another_shape_is_refused() -> None:
    message = r"y=\(3, 7, 8\): task sr_x8 measures signals of shape \(3, 64, 64\) as \(3, 8, 8\)"
    with pytest.raises(ValueError, match=message):
        load_task("sr_x8").observe(torch.zeros(1, 3, 7, 8), (3, 64, 64), ["a"])


def test_operators_are_built_once() -> None:
    task = load_task("gaussian_deblur")
    assert task.build(SHAPE, ["a"]) is task.build(SHAPE, ["b"])
    assert pickle.loads(pickle.dumps(task)) is not task


def test_random_operators_differ_between_samples() -> None:
    operator = load_task("random_inpainting").build(SHAPE, IDS)
    assert len({operator.fingerprint(i) for i in range(3)}) == 3
    with pytest.raises(ValueError, match=r"^x=\(2, 3, 32, 48\): 2 samples, but mask has 3 entries"):
        operator.A(torch.zeros(2, *SHAPE))


def test_names_must_match_the_batch() -> None:
    with pytest.raises(ValueError, match="sample_ids=1: names for 3 samples in x"):
        load_task("denoising").measure(picture(), ["a"])


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="sigma=-1: noise level must be >= 0"):
        GaussianNoise(-1)
    with pytest.raises(ValueError, match="tau=0: expected error"):
        InverseTask(operator=Identity, noise=GaussianNoise(0.1), name="t", tau=0)
    with pytest.raises(ValueError, match="operator=Identity: must be callable"):
        InverseTask(operator=Identity(SHAPE), noise=GaussianNoise(0.1), name="t")
    with pytest.raises(ValueError, match=r"^operator.signal_shape=\(1, 8, 8\): must be \(3, H, W\)"):
        load_task("sr_x4").build((1, 8, 8), ["a"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianBlur(1.0, "a", SHAPE), "kernel_size=a: must be an odd integer >= 1"),
        (lambda: GaussianBlur(1.0, 4, SHAPE), "kernel_size=4: must be an odd integer >= 1"),
        (lambda: MotionBlur(float("nan"), 0.5, SHAPE, IDS), "kernel_size=nan: must be an odd integer >= 1"),
        (lambda: AveragePooling(float("nan"), SHAPE), "factor=nan: must be an integer >= 1"),
        (lambda: BicubicDownsampling(True, SHAPE), "factor=true: must be an integer >= 1"),
        (lambda: SparseViewCT("a", SHAPE), "angles=a: must be an integer >= 1"),
        (lambda: JPEG(float("inf"), SHAPE), "quality=inf: must be an integer in 1 ... 100"),
        (lambda: StrokeInpainting(4, 2.5, 0.4, (0.1, 0.2), 90.0, SHAPE, IDS), "vertices=2.5: must be an integer >= 1"),
        (lambda: Descent(iterations="a"), "iterations=a: must be an integer >= 1"),
    ],
)
def test_what_is_no_integer_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


DRAWN = [name for name in NAMES if is_random(load_task(name).operator)]


@pytest.mark.parametrize("name", DRAWN)
def test_an_operator_is_drawn_for_at_least_one_sample(name: str) -> None:
    task = load_task(name)
    with pytest.raises(ValueError, match=r"^operator\.sample_ids=\(\): must be a list of names, one per sample"):
        task.build(smallest_shape(name), [])


def test_a_bare_string_is_no_list_of_names() -> None:
    with pytest.raises(ValueError, match="sample_ids=abc: must be a list of names"):
        RandomInpainting(0.5, SHAPE, "abc")
