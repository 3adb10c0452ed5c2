"""Presets of papers: their sizes at the papers' sides, and what those promise that need their own lambda."""

from __future__ import annotations

import pytest
import torch

from tests.operators.conftest import IDS
from tests.operators.tasks import DAMPED, PAPER, PATHS, load_task, smallest_shape
from treg_exp.operators import Operator, Task
from treg_exp.operators.cg import dot


@pytest.fixture(scope="module", params=DAMPED)
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(request.param)


@pytest.fixture(scope="module")
def operator(task: Task) -> Operator:
    return task.build(smallest_shape(task), IDS)


def draw(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.rand(3, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_adjoint(operator: Operator) -> None:
    x, y = draw(operator.image_shape, 1), draw(operator.measurement_shape, 2)
    image = operator.A(x)
    error = (dot(image, y) - dot(x, operator.adjoint(y))).abs()
    assert bool((error <= 1e-5 * (dot(image, image) * dot(y, y)).sqrt()).all())


def test_prox_at_the_tasks_lambda(task: Task, operator: Operator) -> None:
    x0, y, lam = draw(operator.image_shape, 1), draw(operator.measurement_shape, 2), task.lam(operator)
    x = operator.prox(y, x0, lam)
    gradient = operator.adjoint(operator.A(x) - y) + lam * (x - x0)
    scale = dot(operator.adjoint(y), operator.adjoint(y)).sqrt() + lam * dot(x0, x0).sqrt()
    assert bool((dot(gradient, gradient).sqrt() <= 1e-5 * scale).all())
    alone = operator[1].prox(y[1:2], x0[1:2], lam)
    torch.testing.assert_close(x[1:2], alone, rtol=1e-5, atol=1e-5)


def test_a_measurement_depends_on_seed_and_name_only(task: Task, operator: Operator) -> None:
    x = draw(operator.image_shape, 1)
    whole, alone = task.measure(x, IDS), task.measure(x[2:], IDS[2:])
    torch.testing.assert_close(alone.y, whole.y[2:], rtol=1e-6, atol=1e-6)
    assert alone.operator.fingerprint() == whole.operator.fingerprint(2)
    assert alone.lam == whole.lam > 0


def test_every_paper_names_itself() -> None:
    for name in PAPER:
        assert PATHS[name].parent.name == "paper"
        assert load_task(name).name == name


@pytest.mark.parametrize(
    ("name", "rows", "columns"), [("eyes", (180, 289), (100, 399)), ("mouth", (330, 429), (170, 339))]
)
def test_the_boxes_of_treg_at_512_pixels(name: str, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    hole = load_task(f"treg_box_{name}").build((3, 512, 512), ["a"]).measured()[0, 0] == 0
    y, x = hole.nonzero(as_tuple=True)
    assert (int(y.min()), int(y.max())) == rows
    assert (int(x.min()), int(x.max())) == columns


def test_boxes_at_random_places_keep_their_margin() -> None:
    ids = [str(i) for i in range(50)]
    masks = load_task("daps_box_inpainting").build((3, 256, 256), ids).mask
    assert masks.flatten(1).sum(1).unique().tolist() == [256**2 - 128**2]
    assert int((masks[:, 0, :16] == 0).sum() + (masks[..., -16:] == 0).sum()) == 0
    assert len({masks[i].numpy().tobytes() for i in range(50)}) > 40
