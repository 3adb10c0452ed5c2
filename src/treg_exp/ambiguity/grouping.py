"""From pairs to disjoint groups: every picture is in one at most, so groups are independent of each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Pair:
    """Two pictures of different things with nearly the same measurement.

    Attributes:
        measured: RMSE between the measurements.
        first: position of one.
        second: position of the other, larger.
        pictured: RMSE between the pictures.
        features: 1 - cosine of their features, or None.
        left_open: share of the difference of the pictures that the measurement leaves open, or None.
    """

    measured: float
    first: int
    second: int
    pictured: float = 0.0
    features: float | None = None
    left_open: float | None = None


def disjoint_groups(
    pairs: Sequence[Pair], restored: Sequence[bool], largest: int, most: int | None = None
) -> list[tuple[int, ...]]:
    """Groups in which every two members are a pair, the nearest pairs first.

    Greedy: the nearest pair whose members are free and of which one can be restored; then, while there is room, the
    free picture that is paired with all members and whose farthest one is nearest.

    Args:
        pairs: all of them, in any order.
        restored: of each picture, whether it may be restored.
        largest: most members.
        most: most groups, None for all.

    Returns:
        Positions of the members, ascending.
    """
    distance: dict[int, dict[int, float]] = defaultdict(dict)
    for pair in pairs:
        distance[pair.first][pair.second] = distance[pair.second][pair.first] = pair.measured
    groups: list[tuple[int, ...]] = []
    used: set[int] = set()
    for pair in sorted(pairs):
        members = [pair.first, pair.second]
        if used.intersection(members) or not any(restored[i] for i in members) or len(groups) == most:
            continue
        while len(members) < largest:
            common = set.intersection(*(set(distance[i]) for i in members)) - used - set(members)
            if not common:
                break
            members.append(min((max(distance[k][i] for i in members), k) for k in common)[1])
        used.update(members)
        groups.append(tuple(sorted(members)))
    return groups
