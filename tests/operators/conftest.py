"""Every preset of ``conf/task`` enters the contract tests by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.operators.tasks import LINEAR, load_task, smallest_shape
from treg_exp.operators.linear.base import LinearOperator
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
def task(preset: str) -> InverseTask:
    return load_task(preset)


@pytest.fixture(scope="session")
def shape(preset: str) -> tuple[int, ...]:
    """Of what a prior makes; a signal of the operator may have another one, as several sources do."""
    return smallest_shape(preset)


@pytest.fixture(scope="session")
def operator(task: InverseTask, shape: tuple[int, ...]) -> LinearOperator:
    operator = task.build(shape, IDS)
    assert isinstance(operator, LinearOperator)
    return operator


@pytest.fixture
def x(operator: LinearOperator) -> Tensor:
    return torch.rand(3, *operator.signal_shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture
def x0(operator: LinearOperator) -> Tensor:
    return torch.rand(3, *operator.signal_shape, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.fixture
def y(operator: LinearOperator) -> Tensor:
    """Any measurement, not only those in the range of A."""
    return torch.randn(3, *operator.measurement_shape, generator=torch.Generator().manual_seed(3))
