"""No value of any option ends in a traceback, or never: it is accepted, or one line names its key.

No weights are loaded. A quarter of the values is tried in every run of the tests, the others in the slow ones.
"""

from __future__ import annotations

import pytest

from tests.configuration.leaves import WRONG, Leaf, distinct, leaves, options, problem

QUARTERS = [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2, 3))]


@pytest.fixture(scope="module")
def found() -> list[Leaf]:
    return distinct([leaf for option in options() for leaf in leaves(option)])


def test_there_are_many(found: list[Leaf]) -> None:
    assert len(options()) > 80
    assert len(found) > 100


@pytest.mark.parametrize("quarter", QUARTERS)
def test_wrong_values_of_every_leaf(found: list[Leaf], quarter: int) -> None:
    tried = [(leaf, value) for i, leaf in enumerate(found) for j, value in enumerate(WRONG) if (i + j) % 4 == quarter]
    problems = {f"{leaf.option}: {leaf.key}={value!r}": problem(leaf, value) for leaf, value in tried}
    assert {key: said for key, said in problems.items() if said} == {}
