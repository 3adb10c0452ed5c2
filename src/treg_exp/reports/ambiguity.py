"""The score of the ambiguity benchmark, from the rows of a run alone; defined in ``docs/benchmark.md``.

Draws of a picture are averaged, then the pictures of a group; statistics are over groups, which share no picture.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from treg_exp.metrics.column import SCORE, TARGET
from treg_exp.reports.choice import CONFIDENCE
from treg_exp.reports.summary import statistics
from treg_exp.run_layout import Row

GROUP, APART = "group", "group_sigma"  # columns of numbers that the data bring along
OWN, NO_TEXT, WRONG = "own", "no_text", "wrong"  # variants
OTHERS = ("other_1", "other_2")
TEXTS = (OWN, *OTHERS)  # variants with the texts of the members of a group
NUMBERS = ("residual", "residual_before", "psnr")
SMALLEST_STD = 1e-6  # of draws that differ at all
Stats = Mapping[str, Any]  # mean, low, high, n


@dataclass
class Tried:
    """The draws of one picture with one text, as sums over them."""

    draws: int = 0
    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, values: Mapping[str, float | None]) -> None:
        """One more draw."""
        self.draws += 1
        for name, value in values.items():
            if value is not None:
                self.sums[name] += value
                self.counts[name] += 1

    def mean(self, name: str) -> float | None:
        """Over the draws that have the number."""
        return self.sums[name] / self.counts[name] if self.counts.get(name) else None


@dataclass
class Picture:
    """One restored member of a group.

    Attributes:
        group: number of its group.
        apart: how far the measurements of its group are apart, in sigma.
        texts: variants of the texts that its group has, as far as they are in the rows.
        tried: draws by variant.
        true: whether the judge picks its text for the true picture, 1 or 0; None where it was not asked.
        std: standard deviation of its draws by variant.
    """

    group: int
    apart: float | None
    texts: tuple[str, ...] = ()
    tried: dict[str, Tried] = field(default_factory=lambda: defaultdict(Tried))
    true: float | None = None
    std: dict[str, float] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether it was restored with the text of every member."""
        return len(self.texts) > 1 and all(text in self.tried for text in self.texts)

    def others(self, name: str) -> float | None:
        """Mean of a number over the texts of the other members."""
        return _mean([self.tried[text].mean(name) for text in self.texts if text != OWN])


def summarise_ambiguity(
    rows: Iterable[Row], posterior: Sequence[Mapping[str, Any]] = (), judge: str = SCORE
) -> dict[str, Any] | None:
    """The score of a run, ready for ``summary.json``; None where its data have no groups.

    Args:
        rows: of the run; read once.
        posterior: one per picture and variant with ``posterior_std``, see ``write_posterior``.
        judge: how the columns begin that hold the judge's scores of the texts, ``<judge><variant>``; those of the true
            pictures begin with ``target_`` before it.

    Returns:
        See ``docs/benchmark.md``; statistics have mean, low, high and n, the number of groups.
    """
    pictures = _pictures(rows, judge)
    for row in posterior:
        if row["sample_id"] in pictures and row.get("posterior_std") not in (None, ""):
            pictures[row["sample_id"]].std[row["variant"]] = float(row["posterior_std"])
    complete = [picture for picture in pictures.values() if picture.complete]
    if not complete:
        return None
    groups: dict[int, list[Picture]] = defaultdict(list)
    for picture in complete:
        groups[picture.group].append(picture)

    def over(number: Any) -> Stats | None:
        """Statistics over groups of a number of a picture."""
        values = [_mean([number(picture) for picture in of_group]) for of_group in groups.values()]
        known = [value for value in values if value is not None]
        return None if not known else _statistics(known, (0.0, 1.0) if number in RATES else None)

    def given(name: str, variant: str) -> Any:
        return lambda p: p.others(name) if variant == "other" else _of(p, variant, name)

    told = ("own", "other", WRONG, NO_TEXT)
    return {
        "groups": len(groups),
        "pictures": len(complete),
        "incomplete": len(pictures) - len(complete),
        "restorations": sum(tried.draws for picture in complete for tried in picture.tried.values()),
        "apart_sigma": over(lambda p: p.apart),
        "chance": _mean([1 / len(picture.texts) for of in groups.values() for picture in of[:1]]),
        "pick": over(_pick),
        "above_chance": over(_above_chance),
        "pick_own": over(_pick_own),
        "pick_other": over(_pick_other),
        "own_without_text": over(_own_without_text),
        "ceiling": over(_ceiling),
        "margin": over(lambda p: _mean([p.tried[text].mean("margin") for text in p.texts])),
        "wrong_picked": over(_wrong_picked),
        "wrong_without_text": over(_wrong_without_text),
        "wrong_chance": _mean([1 / (len(picture.texts) + 1) for of in groups.values() for picture in of[:1]]),
        **{name: {variant: over(given(name, variant)) for variant in told} for name in NUMBERS},
        "residual_rise": over(_less(given("residual", "other"), given("residual", "own"))),
        "psnr_gain": over(_less(given("psnr", "own"), given("psnr", NO_TEXT))),
        "variance_ratio": {variant: _ratio(groups, variant) for variant in told if variant != NO_TEXT},
    }


def _pictures(rows: Iterable[Row], judge: str) -> dict[str, Picture]:
    """The rows that belong to groups, by picture."""
    found: dict[str, Picture] = {}
    for row in rows:
        if row.get(GROUP) is None:
            continue
        picture = found.setdefault(row["sample_id"], Picture(int(row[GROUP]), row.get(APART)))
        scores = {text: row[judge + text] for text in (*TEXTS, WRONG) if row.get(judge + text) is not None}
        told = tuple(text for text in TEXTS if text in scores or row["variant"] == text or text in picture.texts)
        picture.texts = told
        members = {text: scores[text] for text in told if text in scores}
        values: dict[str, float | None] = {name: row.get(name) for name in NUMBERS}
        if len(members) > 1:
            for text in members:
                values[f"picks_{text}"] = float(_best(members) == text)
            if row["variant"] in members:
                own = members.pop(row["variant"])
                values["margin"] = own - sum(members.values()) / len(members)
            if WRONG in scores:
                values["picks_wrong"] = float(_best(scores) == WRONG)
        picture.tried[row["variant"]].add(values)
        if picture.true is None:
            true = {text: row[key] for text in told if row.get(key := f"{TARGET}{judge}{text}") is not None}
            picture.true = float(_best(true) == OWN) if len(true) > 1 else None
    return found


def _best(scores: Mapping[str, float]) -> str | None:
    """The text with the highest score; none where two share it."""
    best = max(scores, key=scores.__getitem__)
    return best if sum(value == scores[best] for value in scores.values()) == 1 else None


def _of(picture: Picture, variant: str, name: str) -> float | None:
    return picture.tried[variant].mean(name) if variant in picture.tried else None


def _pick(picture: Picture) -> float | None:
    """Share of the restorations with a text of the group for which the judge picks that text."""
    return _mean([picture.tried[text].mean(f"picks_{text}") for text in picture.texts])


def _above_chance(picture: Picture) -> float | None:
    pick = _pick(picture)
    return None if pick is None else pick - 1 / len(picture.texts)


def _pick_own(picture: Picture) -> float | None:
    return _of(picture, OWN, f"picks_{OWN}")


def _pick_other(picture: Picture) -> float | None:
    return _mean([picture.tried[text].mean(f"picks_{text}") for text in picture.texts if text != OWN])


def _own_without_text(picture: Picture) -> float | None:
    return _of(picture, NO_TEXT, f"picks_{OWN}")


def _wrong_picked(picture: Picture) -> float | None:
    return _of(picture, WRONG, "picks_wrong")


def _wrong_without_text(picture: Picture) -> float | None:
    return _of(picture, NO_TEXT, "picks_wrong")


def _ceiling(picture: Picture) -> float | None:
    return picture.true


RATES = (_pick, _pick_own, _pick_other, _own_without_text, _wrong_picked, _wrong_without_text, _ceiling)


def _less(one: Any, other: Any) -> Any:
    """The difference of two numbers of a picture, where it has both."""
    return lambda p: None if None in (one(p), other(p)) else one(p) - other(p)


def _ratio(groups: Mapping[int, Sequence[Picture]], variant: str) -> Stats | None:
    """Variance of the draws with a text over that without one: geometric mean over groups, and its interval.

    Of the other members' texts the variances are averaged. Pictures whose draws do not differ have none.
    """
    logs = []
    for pictures in groups.values():
        found = []
        for picture in pictures:
            names = [text for text in picture.texts if text != OWN] if variant == "other" else [variant]
            with_text = [picture.std[name] ** 2 for name in names if name in picture.std]
            without = picture.std.get(NO_TEXT, 0.0) ** 2
            if len(with_text) == len(names) and min(with_text, default=0.0) > SMALLEST_STD**2 < without:
                found.append(math.log(sum(with_text) / len(with_text) / without))
        if found:
            logs.append(sum(found) / len(found))
    if not logs:
        return None
    stats = statistics(logs)
    return {name: v if v is None or name == "n" else math.exp(v) for name, v in stats.items()}


def _statistics(values: Sequence[float], bounds: tuple[float, float] | None = None) -> Stats:
    """Mean and interval over groups; of a rate that is 0 or 1 in every group the exact binomial bound."""
    found: dict[str, Any] = dict(statistics(values))
    if bounds and len(values) > 1 and len(set(values)) == 1 and values[0] in bounds:
        least = ((1 - CONFIDENCE) / 2) ** (1 / len(values))
        found |= {"low": least} if values[0] == 1 else {"high": 1 - least}
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
