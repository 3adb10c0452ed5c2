"""Every preset of ``conf/task`` enters the contract tests by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.operators.tasks import LINEAR, load_task, smallest_shape
from treg_exp.operators.base import Operator
from treg_exp.tasks.inverse import InverseTask

IDS = ("one", "two", "three")


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """The matrices here are too small for threads, which only wait for each other on a shared machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", params=LINEAR)
def preset(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def task(preset: str) -> Task:
    return load_task(preset)


@pytest.fixture(scope="session")
def shape(task: Task) -> tuple[int, int, int]:
    return smallest_shape(task)


@pytest.fixture
def x(shape: tuple[int, int, int]) -> Tensor:
    return torch.rand(3, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture
def x0(shape: tuple[int, int, int]) -> Tensor:
    return torch.rand(3, *shape, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.fixture(scope="session")
def operator(task: Task, shape: tuple[int, int, int]) -> Operator:
    return task.build(shape, IDS)


@pytest.fixture
def y(operator: Operator) -> Tensor:
    """Any measurement, not only those in the range of A."""
    return torch.randn(3, *operator.measurement_shape, generator=torch.Generator().manual_seed(3))
