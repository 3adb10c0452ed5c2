"""No value of any option ends in a traceback, or never: it is accepted, or one line names its key.

No weights are loaded. An eighth of the values is tried in every run of the tests, the others in the slow ones.
"""

from __future__ import annotations

import pytest

from tests.configuration.leaves import WRONG, Leaf, distinct, leaves, options, problem

EIGHTHS = [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 8))]


@pytest.fixture(scope="module")
def found() -> list[Leaf]:
    return distinct([leaf for option in options() for leaf in leaves(option)])


def test_there_are_many(found: list[Leaf]) -> None:
    assert len(options()) > 80
    assert len(found) > 100


@pytest.mark.parametrize("eighth", EIGHTHS)
def test_wrong_values_of_every_leaf(found: list[Leaf], eighth: int) -> None:
    tried = [(leaf, value) for i, leaf in enumerate(found) for j, value in enumerate(WRONG) if (i + j) % 8 == eighth]
    problems = {f"{leaf.option}: {leaf.key}={value!r}": problem(leaf, value) for leaf, value in tried}
    assert {key: said for key, said in problems.items() if said} == {}
