"""What a search may try, from Hydra's overrides."""

from __future__ import annotations

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from treg_exp.errors import ConfigError
from treg_exp.sweeps.search.space import Dimension, dimension, read_space


def one(text: str) -> Dimension:
    return dimension(OverridesParser.create().parse_override(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=interval(1,8)", Dimension("a", "float", 1.0, 8.0)),
        ("a=tag(log,interval(1e-3,8))", Dimension("a", "float", 1e-3, 8.0, log=True)),
        ("a=int(interval(1,8))", Dimension("a", "int", 1, 8)),
        ("a=tag(int,log,interval(1,8))", Dimension("a", "int", 1, 8, log=True)),
        ("a=range(1,8)", Dimension("a", "int", 1, 7, 1)),
        ("a=range(1,8,3)", Dimension("a", "int", 1, 7, 3)),
        ("a=range(5,0,-2)", Dimension("a", "int", 1, 5, 2)),
        ("a=range(0,1,0.25)", Dimension("a", "float", 0.0, 0.75, 0.25)),
        ("a=tag(log,range(1,65))", Dimension("a", "int", 1, 64, None, True)),
        ("a=1,3,5", Dimension("a", "word", words=("1", "3", "5"))),
        ("a=x,'y z',null,1.0,1", Dimension("a", "word", words=("x", "'y z'", "null", "1.0", "1"))),
        ("+a/b@c=x,y", Dimension("+a/b@c", "word", words=("x", "y"))),
        ("a=[1,2],{b:3}", Dimension("a", "word", words=("[1,2]", "{b:3}"))),
    ],
)
def test_hydras_overrides(text: str, expected: Dimension) -> None:
    assert one(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a=interval(8,1)", "has no values"),
        ("a=interval(0,inf)", "has no values"),
        ("a=range(1,1)", "has no values"),
        ("a=tag(log,interval(0,1))", "all values must be above 0"),
        ("a=tag(log,range(1,10,2))", "must have whole numbers and step 1"),
    ],
)
def test_what_cannot_be_searched(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        one(text)


def test_values_are_those_of_the_override() -> None:
    assert one("a=range(0,1,0.25)").values() == [0.0, 0.25, 0.5, 0.75]
    assert one("a=range(5,0,-2)").values() == [1, 3, 5]
    assert one("a=interval(1,2)").values() is None
    assert one("a=tag(log,interval(1,100))").middle() == pytest.approx(10)
    assert one("a=int(interval(1,4))").middle() == 2
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [one("a=range(0,1,0.25)").suggest(study.ask()) for _ in range(40)]
    assert set(drawn) == {0.0, 0.25, 0.5, 0.75}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    whole = [one("a=tag(int,log,interval(1,8))").suggest(study.ask()) for _ in range(40)]
    assert set(whole) <= set(range(1, 9))
    assert all(isinstance(value, int) for value in whole)


def test_the_later_one_counts_and_fixed_ones_stay() -> None:
    space = read_space(["a=interval(1,2)", "b=x,y", "experiment=single", "c=1", "a=3,4", "c=2"])
    assert space.fixed == ["experiment=single", "c=2"]
    assert space.grid() == [{"a": a, "b": b} for a in ("3", "4") for b in ("x", "y")]
    assert space.overrides({"a": "3", "b": "y"}) == ["experiment=single", "c=2", "a=3", "b=y"]
    assert read_space(["a=1,2", "a=3", "b=1,2"]).fixed == ["a=3"]  # the command line fixes what a file searches


def test_a_space_needs_something_to_search() -> None:
    with pytest.raises(ConfigError, match=r"nothing to search; give a value as 'guidance\.scale=interval"):
        read_space(["a=1"])
    with pytest.raises(ConfigError, match="run_dir: with -m it is one folder"):
        read_space(["run_dir=a,b"])
    with pytest.raises(ConfigError, match="sampler=grid: b has no end of values"):
        read_space(["a=1,2", "b=interval(0,1)"]).grid()
