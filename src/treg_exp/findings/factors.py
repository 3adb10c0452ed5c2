"""What was varied: settings that differ between runs, and between the variants of a run, as factors with levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from treg_exp.findings.collection import SEED
from treg_exp.findings.methods import Method, is_number
from treg_exp.findings.naming import readable, short
from treg_exp.findings.resampling import statistics

TEXT = "text"  # the factor of the variants
NUMERIC_LEVELS = 3  # of a setting from which on it is drawn to scale
MOST_LEVELS = 8  # lines of a figure
MOST_PAIRS = 6  # figures of one task and number
APART = ("variants.", "metrics.", "texts.")  # settings that do nothing by themselves


@dataclass(frozen=True, eq=False)
class Factor:
    """Something that was varied within a task.

    Attributes:
        name: dotted key of the setting, or ``text``.
        levels: value of each method that has one, as it is compared: a number or a text.
    """

    name: str
    levels: Mapping[Method, Any]

    @property
    def values(self) -> list[Any]:
        """Different levels: numbers by size, texts as they come."""
        found = list(dict.fromkeys(self.levels.values()))
        return sorted(found) if self.numeric else found

    @property
    def numeric(self) -> bool:
        """Whether it has numbers alone, and enough of them to be drawn to scale."""
        found = set(self.levels.values())
        return len(found) >= NUMERIC_LEVELS and all(is_number(value) for value in found)

    @property
    def title(self) -> str:
        """For readers."""
        return short(self.name)


@dataclass(frozen=True)
class Cell:
    """The methods with one level of a factor, and one of a second.

    Attributes:
        x: level of the first factor.
        line: level of the second, empty where there is none.
        mean: over images, what was repeated or varied besides averaged before.
        low: lower end of its 95 % interval.
        high: upper end.
        n: images.
    """

    x: Any
    line: str
    mean: float
    low: float | None
    high: float | None
    n: int


def settings_of(method: Method) -> dict[str, Any]:
    """The settings of a method, with what its variant replaces in place of that of its run."""
    prefix = f"variants.{method.variant}."
    run = method.settings
    own = {key.removeprefix(prefix): value for key, value in run.items() if key.startswith(prefix)}
    # A variant that names a class brings the whole node; one that does not changes values of it.
    nodes = [key.removesuffix("_target_") for key in own if key.endswith("._target_")]
    kept = {
        key: value
        for key, value in run.items()
        if not key.startswith(APART) and key != SEED and not any(key.startswith(node) for node in nodes)
    }
    return kept | {key: value for key, value in own.items() if key != "optional"}


def factors(compared: Sequence[Method]) -> list[Factor]:
    """What differs between methods of one task; of those that always change together one, numbers first."""
    settings = {method: settings_of(method) for method in compared}
    keys = dict.fromkeys(key for found in settings.values() for key in found)
    found = [Factor(TEXT, {method: method.text for method in compared})]
    found += [
        Factor(key, {method: _level(own[key]) for method, own in settings.items() if own.get(key) is not None})
        for key in keys
    ]
    varied = [factor for factor in found if len(factor.values) > 1]
    varied.sort(key=lambda factor: not factor.numeric)  # stable
    kept: list[Factor] = []
    for factor in varied:
        if not any(_finer(factor, other) and _finer(other, factor) for other in kept):
            kept.append(factor)
    return kept


def _level(value: Any) -> Any:
    return float(value) if is_number(value) else readable(value)


def _finer(factor: Factor, other: Factor) -> bool:
    """Whether the level of a factor says that of the other one, for all methods that have one."""
    if not set(other.levels) <= set(factor.levels):
        return False
    pairs = {(factor.levels[method], other.levels[method]) for method in other.levels}
    return len(pairs) == len({first for first, _ in pairs})


def pairs_of(found: Sequence[Factor]) -> list[tuple[Factor, Factor]]:
    """Pairs that cross: two levels of one were tried with the same two levels of the other. The first is along x.

    A coarser factor (the kind of a text beside the text) is left out where the finer one crosses, too.
    """
    crossing = [(one, two) for i, one in enumerate(found) for two in found[i + 1 :] if _cross(one, two)]
    kept = [pair for pair in crossing if not any(_same_but_finer(pair, other) for other in crossing)]
    ordered = [(two, one) if two.numeric and not one.numeric else (one, two) for one, two in kept]
    return [(one, two) for one, two in ordered if len(two.values) <= MOST_LEVELS]


def _cross(one: Factor, two: Factor) -> bool:
    partners: dict[Any, set[Any]] = {}
    for method, level in one.levels.items():
        if method in two.levels:
            partners.setdefault(level, set()).add(two.levels[method])
    sets = list(partners.values())
    return any(len(first & second) > 1 for i, first in enumerate(sets) for second in sets[i + 1 :])


def _same_but_finer(pair: tuple[Factor, Factor], other: tuple[Factor, Factor]) -> bool:
    if set(pair) == set(other) or not set(pair) & set(other):
        return False
    (own,), (rival,) = set(pair) - set(other), set(other) - set(pair)
    return not own.numeric and _finer(rival, own)


def cells(compared: Sequence[Method], metric: str, x: Factor, by: Factor | None = None) -> list[Cell]:
    """Means of every pair of levels.

    Where all have the same images, intervals are of what an image has beyond its mean over all of them, widened by
    sqrt(C / (C - 1)) for C cells (Cousineau, 2005; Morey, 2008): they show how well points can be told apart, which
    the differences between images would hide.
    """
    groups: dict[tuple[Any, str], dict[str, list[float]]] = {}
    for method in compared:
        if method in x.levels and (by is None or method in by.levels):
            line = "" if by is None else readable_level(by.levels[method])
            together = groups.setdefault((x.levels[method], line), {})
            for image, values in method.numbers(metric).items():
                together.setdefault(image, []).extend(values.values())
    groups = {place: together for place, together in groups.items() if together}
    images = {frozenset(together) for together in groups.values()}
    beyond, wider = dict.fromkeys(next(iter(images), ()), 0.0), 1.0
    if within := len(images) == 1 and len(groups) > 1:
        each = {image: [sum(own[image]) / len(own[image]) for own in groups.values()] for image in beyond}
        beyond = {image: sum(means) / len(means) for image, means in each.items()}
        wider = math.sqrt(len(groups) / (len(groups) - 1))
    found = []
    for (level, line), together in groups.items():
        mean = statistics([together[image] for image in sorted(together)])["mean"]
        left = [[value - within * beyond.get(image, 0.0) for value in together[image]] for image in sorted(together)]
        around = statistics(left)
        low, high = (_ended(around, end, mean, wider) for end in ("low", "high"))
        found.append(Cell(level, line, mean, low, high, around["n"]))
    return found


def _ended(around: Mapping[str, Any], end: str, mean: float, wider: float) -> float | None:
    """An end of an interval, moved to the mean."""
    return None if around[end] is None else mean + wider * (around[end] - around["mean"])


def readable_level(level: Any) -> str:
    """A level for readers: numbers without needless digits."""
    return f"{level:g}" if isinstance(level, float) else str(level)
