"""Which pictures of a data set can a measurement hardly tell apart? Every pair is compared, none is missed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from treg_exp.ambiguity.grouping import Pair, disjoint_groups
from treg_exp.ambiguity.measuring import Measured
from treg_exp.ambiguity.neighbours import TooManyPairsError, near_pairs
from treg_exp.data.base import Source, TextTable
from treg_exp.data.group_manifest import LARGEST, SMALLEST, Group, GroupManifest, Member, Rejected
from treg_exp.data.prompts import RandomCaption
from treg_exp.errors import FieldError

RESTORED, NO = "restored", "no"  # role of the data, and its text for pictures that the prior was trained on
CAPTION = "caption"
TOLD = ("name", "style", "category")  # further texts that go into the manifest
EVERYTHING = "*"
Features = Callable[[Tensor], Tensor]  # (B, 3, H, W) -> (B, F) unit vectors


@dataclass(frozen=True)
class SearchSettings:
    """What counts as a group.

    Attributes:
        closest: largest RMSE between the noiseless measurements of two members, per measured number, in units of the
            noise's sigma; in those of the measurement where there is no noise.
        differs: smallest RMSE between two pictures, in units of [-1, 1].
        features: smallest 1 - cosine between two pictures by an image encoder; 0 asks for none.
        left_open: smallest share of the squared difference of two pictures that the measurement leaves open, in [0, 1];
            operators that are not linear have none, and pass.
        unlike: role in which two members must have different texts, beside the caption, which data without it use.
        same: role in which they must have the same text, None for no such role.
        largest: most members of a group, 2 or 3.
        most: most groups, None for all.
        sketch: numbers per picture that the search by matrix products keeps; memory is 4 sketch bytes per picture.
        seed: of the draw of the unrelated texts.
    """

    closest: float = 5.0
    differs: float = 0.12
    features: float = 0.0
    left_open: float = 0.5
    unlike: str = "name"
    same: str | None = None
    largest: int = LARGEST
    most: int | None = None
    sketch: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the fields."""
        for name, low, high in (
            ("closest", 0, None), ("differs", 0, 2), ("features", 0, 2), ("left_open", 0, 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if not value >= low or (high is not None and value > high):
                raise FieldError(name, value, f"must be >= {low}" + (f" and <= {high}" if high else ""))
        if not SMALLEST <= self.largest <= LARGEST:
            raise FieldError("largest", self.largest, f"must be {SMALLEST} or {LARGEST}")
        for name, number in (("most", self.most), ("sketch", self.sketch)):
            if number is not None and number < 1:
                raise FieldError(name, number, "must be >= 1")


def search(
    source: Source,
    measured: Measured,
    task: tuple[str, Mapping[str, object], float],
    settings: SearchSettings,
    rejected: Sequence[Rejected] = (),
    features: Features | None = None,
) -> GroupManifest:
    """Find the groups of a data set.

    Args:
        source: the pictures with their captions. One whose text in the role ``restored`` is ``no`` only lends its text.
        measured: their measurements.
        task: its name, its operator's configuration, and the sigma of its noise.
        settings: what counts as a group.
        rejected: what a person has taken out.
        features: of pictures, where ``settings.features`` asks for them.

    Raises:
        FieldError: a picture without a caption, a rejection of an unknown picture, or no group.
    """
    texts = [dict(of_sample) for _, of_sample in TextTable(source)]
    if bare := [source.ids[i] for i, of_sample in enumerate(texts) if not of_sample.get(CAPTION)]:
        raise FieldError("data", bare[0], f"has no caption, as {len(bare)} of {len(texts)} pictures")
    try:
        pairs = find_pairs(source, measured, texts, task[2], settings, features)
    except TooManyPairsError as error:
        raise FieldError("closest", settings.closest, str(error)) from None
    pairs, taken_out = without_rejected(pairs, rejected, source.ids)
    restored = [of_sample.get(RESTORED) != NO for of_sample in texts]
    found = disjoint_groups(pairs, restored, settings.largest, settings.most)
    if not found:
        raise FieldError(
            "closest", settings.closest, f"no two of {len(texts)} pictures that differ by {settings.differs:g} or more "
            "are so near under this task; take a larger one, or more pictures"
        )  # fmt: skip
    apart = {(pair.first, pair.second): pair for pair in pairs}
    groups = [_group(members, apart, source.ids, texts, settings) for members in found]
    name, operator, sigma = task
    return GroupManifest(name, operator, sigma, asdict(settings), len(texts), groups, taken_out)


def find_pairs(
    source: Source,
    measured: Measured,
    texts: Sequence[Mapping[str, str]],
    sigma: float,
    settings: SearchSettings,
    features: Features | None = None,
) -> list[Pair]:
    """All pairs that could be members of one group; see `search`."""
    limit = settings.closest * (sigma or 1.0)
    distance = limit * measured.count**0.5
    pairs = []
    for block in near_pairs(measured.sketches(settings.sketch), distance, _codes(texts, settings)):
        for first, second in block.tolist():
            if texts[first].get(RESTORED) == NO == texts[second].get(RESTORED):
                continue
            if texts[first][CAPTION] == texts[second][CAPTION]:
                continue
            apart, pictured = measured.apart(first, second)
            if apart > limit or pictured < settings.differs:
                continue
            left_open = measured.left_open(first, second)
            if left_open is None or left_open >= settings.left_open:
                pairs.append(Pair(apart, first, second, pictured, None, left_open))
    if settings.features == 0:
        return pairs
    if features is None:
        raise FieldError("features", settings.features, "needs an image encoder; name its metric with --encoder")
    seen = {i: features(measured.picture(i)[None])[0].double() for pair in pairs for i in (pair.first, pair.second)}
    pairs = [replace(pair, features=1 - float(seen[pair.first] @ seen[pair.second])) for pair in pairs]
    return [pair for pair in pairs if (pair.features or 0.0) >= settings.features]


def _codes(texts: Sequence[Mapping[str, str]], settings: SearchSettings) -> Tensor:
    """(N, 2): numbers of the texts in which two members must agree, and of those in which they must differ."""
    numbers: dict[str, int] = {}
    same = [numbers.setdefault(t.get(settings.same, "") if settings.same else "", len(numbers)) for t in texts]
    unlike = [numbers.setdefault(t.get(settings.unlike) or t[CAPTION], len(numbers)) for t in texts]
    return torch.tensor([same, unlike]).T


def without_rejected(
    pairs: Sequence[Pair], rejected: Sequence[Rejected], ids: Sequence[str]
) -> tuple[list[Pair], list[Rejected]]:
    """The pairs that nobody has taken out, and the rejections that took one out: those of other tasks do nothing.

    Raises:
        FieldError: a rejection of an unknown picture.
    """
    for sample_id in (name for entry in rejected for name in (entry.first, entry.second)):
        if sample_id != EVERYTHING and sample_id not in ids:
            raise FieldError("reject", sample_id, "is no picture of the data")
    kept, by = list(pairs), []
    for entry in rejected:
        named = {entry.first, entry.second} - {EVERYTHING}
        left = [pair for pair in kept if not named <= {ids[pair.first], ids[pair.second]}]
        by += [entry] if len(left) < len(kept) else []
        kept = left
    return kept, by


def _group(
    members: Sequence[int],
    apart: Mapping[tuple[int, int], Pair],
    ids: Sequence[str],
    texts: Sequence[Mapping[str, str]],
    settings: SearchSettings,
) -> Group:
    pairs = [apart[a, b] for a in members for b in members if a < b]
    features = [pair.features for pair in pairs if pair.features is not None]
    left_open = [pair.left_open for pair in pairs if pair.left_open is not None]
    unrelated = _unrelated(members, ids, texts, settings)
    return Group(
        members=[_member(ids[i], texts[i], texts[other]) for i, other in zip(members, unrelated, strict=True)],
        measurement_rmse=max(pair.measured for pair in pairs),
        picture_rmse=min(pair.pictured for pair in pairs),
        feature_distance=min(features) if features else None,
        left_open=min(left_open) if left_open else None,
    )


def _member(sample_id: str, own: Mapping[str, str], other: Mapping[str, str]) -> Member:
    further = {role: own[role] for role in TOLD if own.get(role)}
    if own.get("name") and other.get("name"):
        further["wrong_name"] = other["name"]
    return Member(sample_id, own[CAPTION], other[CAPTION], own.get(RESTORED) != NO, further)


def _unrelated(
    members: Sequence[int], ids: Sequence[str], texts: Sequence[Mapping[str, str]], settings: SearchSettings
) -> list[int]:
    """For each member a picture that is not in its group, of another category where the data have categories."""
    taken = {texts[i][CAPTION] for i in members}
    role = "category" if any(t.get("category") for t in texts) else settings.unlike
    rows = [(ids[i], {**t, "row": str(i)}) for i, t in enumerate(texts)]
    others = [row for row in rows if row[1][CAPTION] not in taken]
    draw = RandomCaption("row", settings.same, role, settings.seed)
    return [int(row) for row in draw.resolve([rows[i] for i in members], others)]
