"""What runs are called: by the settings that tell them from the others of their task, else by their folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from treg_exp.findings.collection import SEED, Run

METHOD = "method"  # key that a method of conf/method calls itself by
MOST_KEYS = 3  # in a name; a run that differs in more from the others is called by the first ones

Group = Sequence[Run]  # repetitions of one setting, one run per seed


def repetitions(runs: Sequence[Run]) -> list[Group]:
    """The runs of each setting, in their order. A seed that comes again belongs to another group.

    So two runs of the same settings and seed, by other code or other weights, are two things to compare.
    """
    groups: dict[tuple[Any, int], list[Run]] = {}
    times: Counter[Any] = Counter()
    for run in runs:
        again = times[run.apart_from_seed, str(run.seed)]
        times[run.apart_from_seed, str(run.seed)] += 1
        groups.setdefault((run.apart_from_seed, again), []).append(run)
    return list(groups.values())


def names(groups: Sequence[Group]) -> list[str]:
    """What each group is called: the settings that tell it from the others of its task, or the folder of its first."""
    called: dict[Path, str] = {}
    firsts = [group[0] for group in groups]
    for task in dict.fromkeys(run.task for run in firsts):
        called |= _names_of([run for run in firsts if run.task == task])
    return [called[run.path] for run in firsts]


def differing(runs: Sequence[Run], ignored: Sequence[str] = ()) -> list[str]:
    """Dotted keys whose values are not the same in all runs, what a user sets before what follows from it."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [key for key in keys if key not in ignored and len({str(run.settings.get(key)) for run in runs}) > 1]


def folder_names(runs: Sequence[Run]) -> dict[Path, str]:
    """What the folder of each run is called: its name, and as many parents as tell it from others of that name."""
    parts = {run.path: run.path.resolve().parts for run in runs}
    found: dict[Path, str] = {}
    for depth in range(1, max(map(len, parts.values()), default=0) + 1):
        ends = {path: "/".join(names[-depth:]) for path, names in parts.items()}
        times = Counter(ends.values())
        found |= {path: end for path, end in ends.items() if path not in found and times[end] == 1}
    return found


def _names_of(runs: Sequence[Run]) -> dict[Path, str]:
    keys = sorted(differing(runs, ignored=(SEED,)), key=lambda key: key != METHOD)
    told = [key for i, key in enumerate(keys) if not any(_follows(key, other, runs) for other in keys[:i])][:MOST_KEYS]
    found = {}
    for run in runs:
        parts = (_told(key, readable(run.settings[key])) for key in told if key in run.settings)
        found[run.path] = " ".join(parts)
    times = Counter(found.values())
    folders = folder_names(runs)
    return {path: name if times[name] == 1 else f"{name} {folders[path]}".strip() for path, name in found.items()}


def _told(key: str, value: str) -> str:
    return value if key == METHOD else f"{short(key)}={value}"


def _follows(key: str, other: str, runs: Sequence[Run]) -> bool:
    """Whether a key says no more than another one: wherever that one is the same, it is the same, too."""
    pairs = {(str(run.settings.get(other)), str(run.settings.get(key))) for run in runs}
    return len(pairs) == len({first for first, _ in pairs})


def short(key: str) -> str:
    """A key for readers."""
    return key.removesuffix("._target_")


def readable(value: Any) -> str:
    """A value for readers: of a class of the package its name alone."""
    text = str(value)
    return text.rpartition(".")[2] if text.startswith("treg_exp.") else text
