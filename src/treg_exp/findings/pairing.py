"""Which method is compared with which, on which images, and what a reader should know about that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from treg_exp.errors import ConfigError
from treg_exp.findings.methods import Method


def baseline_of(compared: Sequence[Method], wanted: str | None) -> dict[str, Method]:
    """The method that the others of a task are compared with, by task; a task may have none.

    Args:
        compared: all methods.
        wanted: its name, or a part of it that no other name has; None takes the first one of each task.

    Raises:
        ConfigError: no name has that part, or several have it.
    """
    names = list(dict.fromkeys(method.name for method in compared))
    matching = [wanted] if wanted in names else [name for name in names if wanted is None or wanted in name]
    if not matching:
        raise ConfigError(f"--baseline {wanted}: no such method; there are {', '.join(names)}")
    if wanted is not None and len(matching) > 1:
        raise ConfigError(f"--baseline {wanted}: say which one: {', '.join(matching)}")
    found: dict[str, Method] = {}
    for method in compared:
        if method.name in matching:
            found.setdefault(method.task, method)
    return found


@dataclass(frozen=True)
class Pairing:
    """A method, its baseline, and the images on which they are compared.

    Attributes:
        method: the one.
        baseline: the other.
        images: restored by both from the same measurement; where no row of either has a hash, restored by both.
        unknown: how many more a row without a hash of the measurement belongs to.
        other: how many more were restored from different measurements.
        measured: whether there are hashes.
    """

    method: Method
    baseline: Method
    images: Sequence[str]
    unknown: int
    other: int
    measured: bool


def pairings(compared: Sequence[Method], baselines: Mapping[str, Method]) -> list[Pairing]:
    """Every method with the baseline of its task; a baseline itself and tasks without one are left out."""
    pairs = [(method, baselines[method.task]) for method in compared if method.task in baselines]
    return [_pair(method, baseline) for method, baseline in pairs if method is not baseline]


def _pair(method: Method, baseline: Method) -> Pairing:
    own, others = method.measurements, baseline.measurements
    both = [image for image in own if image in others]
    if not any(any(hashes) for found in (own, others) for hashes in found.values()):
        return Pairing(method, baseline, both, 0, 0, measured=False)
    known = [image for image in both if "" not in own[image] | others[image]]
    same = [image for image in known if len(own[image] | others[image]) == 1]
    return Pairing(method, baseline, same, len(both) - len(known), len(known) - len(same), measured=True)


def pairing_notes(compared: Sequence[Method], baselines: Mapping[str, Method], pairs: Sequence[Pairing]) -> list[str]:
    """What was not compared, and what was compared with less certainty."""
    notes = []
    for task in dict.fromkeys(method.task for method in compared):
        own = [pair for pair in pairs if pair.method.task == task]
        if task not in baselines:
            notes.append(f"{task} has no such baseline: its methods are not compared.")
        if unmeasured := [pair.method.name for pair in own if not pair.measured]:
            notes.append(
                f"{task}: no row has a hash of its measurement, so images are paired by name alone, and nothing says "
                f"that both were restored from the same measurement: {', '.join(unmeasured)}."
            )
        if unknown := [f"{pair.unknown} of {pair.method.name}" for pair in own if pair.unknown]:
            notes.append(f"{task}: images without a hash of their measurement are not compared: {', '.join(unknown)}.")
        if other := [f"{pair.other} of {pair.method.name}" for pair in own if pair.other]:
            notes.append(f"{task}: images with another measurement are not compared: {', '.join(other)}.")
    return notes
