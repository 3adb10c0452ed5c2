"""What a search may try: overrides with several values, as Hydra's own grammar has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from treg_exp.errors import ConfigError

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = int | float | str


@dataclass(frozen=True)
class Dimension:
    """One override with several values.

    Attributes:
        key: left of the equals sign.
        kind: whole numbers, numbers, or words (any values that are listed, as they are written).
        low: least value of numbers.
        high: greatest one.
        step: between two numbers; None where all in between are allowed.
        log: whether the logarithm is searched.
        words: what is listed.
    """

    key: str
    kind: Literal["int", "float", "word"]
    low: int | float = 0
    high: int | float = 0
    step: int | float | None = None
    log: bool = False
    words: tuple[str, ...] = ()

    def suggest(self, trial: Trial) -> Value:
        """The value of a trial of Optuna's: the one that it has, or else a new one."""
        if self.kind == "word":
            return trial.suggest_categorical(self.key, self.words)
        if self.kind == "int":
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.key, int(self.low), int(self.high), step=step, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def values(self) -> list[Value] | None:
        """All values in order; None where there is no end of them."""
        if self.kind == "word":
            return list(self.words)
        if self.step is None:
            return None
        return [self.low + i * self.step for i in range(round((self.high - self.low) / self.step) + 1)]

    def middle(self) -> Value:
        """A value from the middle; the first word."""
        if values := self.values():
            return values[0] if self.kind == "word" else values[len(values) // 2]
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return round(middle) if self.kind == "int" else middle

    def __str__(self) -> str:
        if self.kind == "word":
            return f"one of {', '.join(self.words)}"
        about = [self.kind, *(["log"] if self.log else []), *([f"step {self.step:g}"] if self.step else [])]
        return f"from {self.low:g} to {self.high:g} ({', '.join(about)})"


@dataclass(frozen=True)
class Space:
    """All that a search may try.

    Attributes:
        dimensions: overrides with several values, by key.
        fixed: the others.
        averaged: overrides with several values, each of which every trial has a run with.
    """

    dimensions: Mapping[str, Dimension]
    fixed: Sequence[str] = field(default=())
    averaged: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def overrides(self, values: Mapping[str, Value]) -> list[str]:
        """The overrides that all runs of a trial with these values share."""
        return [*self.fixed, *(f"{key}={values[key]}" for key in self.dimensions)]

    def runs(self, values: Mapping[str, Value]) -> list[list[str]]:
        """The overrides of each run of a trial with these values: one, or one for each that is averaged over."""
        over = product(*([f"{key}={value}" for value in listed] for key, listed in self.averaged.items()))
        return [[*self.overrides(values), *more] for more in over]

    def middle(self) -> dict[str, Value]:
        """A point from the middle."""
        return {key: dimension.middle() for key, dimension in self.dimensions.items()}

    def grid(self) -> list[dict[str, Value]]:
        """All points in order, the last override changing first.

        Raises:
            ConfigError: there is no end of them.
        """
        lists = {key: dimension.values() for key, dimension in self.dimensions.items()}
        if endless := [key for key, values in lists.items() if values is None]:
            raise ConfigError(
                f"hydra.sweeper.sampler=grid: {endless[0]} has no end of values; list them, or use range(start,stop)"
            )
        return [dict(zip(lists, point, strict=True)) for point in product(*(each or [] for each in lists.values()))]

    def described(self) -> dict[str, str]:
        """The same in words, by key: two searches with one study must agree in it."""
        searched = {key: str(dimension) for key, dimension in self.dimensions.items()}
        return searched | {key: f"mean over {', '.join(listed)}" for key, listed in self.averaged.items()}


def read_space(
    arguments: Sequence[str], loader: ConfigLoader | None = None, average_over: Mapping[str, str] | None = None
) -> Space:
    """The space of these overrides; of two with the same key the later one counts.

    Args:
        arguments: overrides of Hydra.
        loader: Hydra's, for ``glob(*)``.
        average_over: further overrides with lists of values, by key, which are averaged over instead of searched.

    Raises:
        ConfigError: none of them has several values, or one cannot be searched.
    """
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
    given = {override.get_key_element(): override for override in parsed}
    found = {key: dimension(each) for key, each in given.items() if each.is_sweep_override()}
    if not found:
        raise ConfigError(
            "hydra/sweeper=optuna_search: nothing to search; give a value as 'guidance.scale=interval(1,8)', "
            "choice(a,b), range(1,5), or 1,3,5, on the command line or in hydra.sweeper.params"
        )
    if "run_dir" in found:
        raise ConfigError("run_dir: with -m it is one folder, in which every job gets its own; give a single one")
    fixed = [str(each.input_line) for key, each in given.items() if key not in found]
    return Space(found, fixed, _averaged(average_over or {}, given, loader))


def _averaged(
    wanted: Mapping[str, str], given: Mapping[str, Override], loader: ConfigLoader | None
) -> dict[str, Sequence[str]]:
    """The values of each override that is averaged over.

    Raises:
        ConfigError: it is given elsewhere as well, or has no list of single values.
    """
    place = "hydra.sweeper.average_over"
    found: dict[str, Sequence[str]] = {}
    for key, value in wanted.items():
        (each,) = OverridesParser.create(config_loader=loader).parse_overrides([f"{key}={value}"])
        if key in given:
            raise ConfigError(f"{given[key].input_line}: {place}.{key} says which ones; change it there")
        if each.is_sweep_override() and not each.is_discrete_sweep():
            raise ConfigError(f"{place}.{key}={value}: must be single values, as a,b,c")
        found[key] = list(each.sweep_string_iterator()) if each.is_sweep_override() else [str(value)]
    return found


def dimension(override: Override) -> Dimension:
    """What one override with several values allows.

    Raises:
        ConfigError: it has no values, or numbers that have no logarithm.
    """
    key, value = override.get_key_element(), override.value()
    if isinstance(value, IntervalSweep):
        made = _interval(key, value)
    elif isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        made = _range(key, value)
    else:
        return Dimension(key, "word", words=tuple(dict.fromkeys(override.sweep_string_iterator())))
    if made.low > made.high or not all(map(math.isfinite, (made.low, made.high))):
        raise ConfigError(f"{override.input_line}: has no values; must be finite, and from the lower to the higher")
    if made.log and made.low <= 0:
        raise ConfigError(f"{override.input_line}: has no logarithm; with tag(log, ...) all values must be above 0")
    return made


def _interval(key: str, value: IntervalSweep) -> Dimension:
    low, high = value.start, value.end
    assert low is not None
    assert high is not None
    whole = "int" in value.tags or (isinstance(low, int) and isinstance(high, int))
    log = "log" in value.tags
    if whole:
        return Dimension(key, "int", int(low), int(high), None, log)
    return Dimension(key, "float", float(low), float(high), None, log)


def _range(key: str, value: RangeSweep) -> Dimension:
    """The values of a range, whose end is none of them, as in Python."""
    numbers: list[Any] = list(value.range())
    kind: Literal["int", "float"] = "int" if all(isinstance(n, int) for n in numbers) else "float"
    low, high = (min(numbers), max(numbers)) if numbers else (1, 0)
    log = "log" in value.tags
    if log and (kind == "float" or value.step != 1):
        raise ConfigError(f"{key}: tag(log, range(...)) must have whole numbers and step 1; or tag(log, interval(...))")
    return Dimension(key, kind, low, high, None if log else abs(value.step), log)
