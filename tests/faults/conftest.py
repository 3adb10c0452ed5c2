"""What all tests of faults share: a nursery, see there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.nursery import Nursery, nursery_in


@pytest.fixture(scope="package")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with nursery_in(tmp_path_factory.mktemp("nursery")) as made:
        yield made
