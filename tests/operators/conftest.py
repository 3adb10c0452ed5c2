"""Every preset of ``conf/task`` enters the contract tests by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.operators.tasks import NAMES, load_task
from treg_exp.operators import Operator, Task

SHAPE = (3, 32, 48)  # sides differ, to tell rows from columns
IDS = ("one", "two", "three")


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """The matrices here are too small for threads, which only wait for each other on a shared machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(request.param)


@pytest.fixture
def x() -> Tensor:
    return torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture
def x0() -> Tensor:
    return torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.fixture
def operator(task: Task) -> Operator:
    return task.build(SHAPE, IDS)


@pytest.fixture
def y(operator: Operator) -> Tensor:
    """Any measurement, not only those in the range of A."""
    return torch.randn(3, *operator.measurement_shape, generator=torch.Generator().manual_seed(3))
