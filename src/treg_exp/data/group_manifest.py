"""The manifest of the ambiguity benchmark: groups of pictures that one task can hardly tell apart.

A folder holds ``<task>.json`` for each task and ``images/<sample_id>.png`` for all of them; see ``docs/benchmark.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from treg_exp.data.listing import first_few
from treg_exp.data.naming import identifier
from treg_exp.errors import FileError
from treg_exp.files import write_json

FORMAT = 1
SMALLEST, LARGEST = 2, 3  # members of a group: pairs and triples
IMAGES = "images"


@dataclass(frozen=True)
class Member:
    """One picture of a group.

    Attributes:
        sample_id: its name, and that of its file.
        caption: what it shows; the prompt.
        wrong: caption of an unrelated picture; a control.
        restored: False for a picture that the prior was trained on: it lends its text to the others, nothing else.
        texts: further texts by role, such as ``name``, and ``wrong_name`` of the unrelated picture.
    """

    sample_id: str
    caption: str
    wrong: str
    restored: bool = True
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Pictures of different things with nearly the same measurement.

    Attributes:
        members: two or three.
        measurement_rmse: largest root mean square difference between two of their measurements, per measured number
            and without noise, in the units of the measurement.
        picture_rmse: smallest one between two of the pictures, in units of [-1, 1].
        feature_distance: smallest 1 - cosine between two pictures in the features of an image encoder, or None.
        left_open: smallest share of the squared difference of two pictures that the measurement leaves open, or None
            where the operator is not linear.
    """

    members: Sequence[Member]
    measurement_rmse: float
    picture_rmse: float
    feature_distance: float | None = None
    left_open: float | None = None


@dataclass(frozen=True)
class Rejected:
    """Two pictures that a person has looked at and taken out.

    Attributes:
        first: sample id.
        second: sample id, or ``*``: the first one is in no group at all.
        reason: why.
    """

    first: str
    second: str
    reason: str


@dataclass(frozen=True)
class GroupManifest:
    """The groups of one task, and how they were found.

    Attributes:
        task: name of the task.
        operator: its operator as the configuration describes it.
        sigma: of its noise, in the units of the measurement.
        search: the settings of the search.
        searched: number of pictures that were compared.
        groups: disjoint, the nearest measurements first.
        rejected: what was taken out by eye.
    """

    task: str
    operator: Mapping[str, Any]
    sigma: float
    search: Mapping[str, Any]
    searched: int
    groups: Sequence[Group]
    rejected: Sequence[Rejected] = ()

    def write(self, folder: Path) -> Path:
        """Write ``<task>.json`` into a folder; the pictures are the caller's."""
        return write_json(folder / f"{self.task}.json", {"format": FORMAT, **asdict(self)})

    @classmethod
    def read(cls, folder: Path, task: str) -> GroupManifest:
        """The manifest of a task.

        Raises:
            FileError: there is none, or it cannot be used; the message says which group and why.
        """
        file = folder / f"{task}.json"
        if not file.is_file():
            others = first_few(tasks_of(folder)) or "none"
            raise FileError(
                f"{folder} has no groups for the task {task}, only for: {others}; find some with "
                f"treg-exp pairs task={task} data=folder data.path=PICTURES --out DIR"
            )
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise FileError(f"{file}: no valid JSON ({error})") from None
        if not isinstance(stored, Mapping) or stored.get("format") != FORMAT:
            raise FileError(f"{file}: not of format {FORMAT}; write it with treg-exp pairs")
        try:
            groups = [_group(node) for node in stored["groups"]]
            rejected = [Rejected(**node) for node in stored.get("rejected", ())]
            about = {name: stored[name] for name in ("task", "operator", "sigma", "search", "searched")}
        except KeyError as error:
            raise FileError(f"{file}: {error} is missing") from None
        except TypeError as error:
            raise FileError(f"{file}: {error}") from None
        found = cls(**about, groups=groups, rejected=rejected)
        if problem := found.problem(task):
            raise FileError(f"{file}: {problem}")
        return found

    def problem(self, task: str) -> str | None:
        """What is wrong with the content, or None."""
        if self.task != task:
            return f"holds the groups of {self.task!r}"
        if not self.groups:
            return "has no groups: search with a larger --closest, or among more pictures"
        seen: dict[str, int] = {}
        for number, group in enumerate(self.groups):
            ids = [member.sample_id for member in group.members]
            place = f"group {number} ({', '.join(ids)})"
            if not SMALLEST <= len(ids) <= LARGEST:
                return f"{place} has {len(ids)} members, must have {SMALLEST} to {LARGEST}"
            for sample_id in ids:
                if not isinstance(sample_id, str) or identifier(sample_id) != sample_id:
                    return f"{place}: {sample_id!r} is no sample id; letters, digits and ._- are allowed"
                if (first := seen.setdefault(sample_id, number)) != number or ids.count(sample_id) > 1:
                    return f"{place}: {sample_id} is in group {first} already; groups must be disjoint"
            if empty := [m.sample_id for m in group.members if not (m.caption.strip() and m.wrong.strip())]:
                return f"{place}: {empty[0]} needs a caption and a wrong one"
            if len({member.caption for member in group.members}) < len(ids):
                return f"{place}: two members have the same caption, so no text can tell them apart"
            if not any(member.restored for member in group.members):
                return f"{place} has no member to restore"
        return None


def tasks_of(folder: Path) -> list[str]:
    """Names of the tasks that a folder has groups for."""
    return sorted(file.stem for file in folder.glob("*.json"))


def _group(node: Mapping[str, Any]) -> Group:
    members = tuple(Member(**member) for member in node["members"])
    return Group(**{**node, "members": members})
