"""The pictures of the ambiguity benchmark, each with its own text, those of its rivals, and an unrelated one."""

from __future__ import annotations

from pathlib import Path

from treg_exp.data.folder import ImageFolder
from treg_exp.data.group_manifest import IMAGES, Group, GroupManifest, Member
from treg_exp.data.listing import first_few
from treg_exp.errors import FieldError, FileError
from treg_exp.shipped import ASSETS

PACKAGED = ASSETS / "ambiguity"
#: Roles of numbers, written as text: number of the group from 0, its members, its distances, see `Group`.
GROUP, SIZE, APART, PICTURES = "group", "group_size", "group_sigma", "group_picture_rmse"


class AmbiguityGroups(ImageFolder):
    """The members of all groups of a task that are restored, group by group.

    Texts by role: ``caption``; ``other_1`` and, in triples, ``other_2``, the captions of the other members in their
    order; ``wrong``, the caption of an unrelated picture; where the manifest has names ``name``, ``other_1_name``,
    ``other_2_name``, ``wrong_name``; and numbers of the group.

    Args:
        task: name of the task whose groups are taken.
        image_size: side of the square image in pixels (the prior's).
        path: folder that ``treg-exp pairs`` has written; None for the packaged one.

    Raises:
        FieldError: there is no such folder.
        FileError: it has no groups for the task, or its manifest or pictures cannot be used.
    """

    def __init__(self, task: str, image_size: int = 64, path: str | Path | None = None) -> None:
        root = PACKAGED if path is None else Path(path).expanduser()
        if not root.is_dir():
            raise FieldError("path", str(path), "must be a folder that treg-exp pairs has written")
        self.manifest = GroupManifest.read(root, task)
        super().__init__(root / IMAGES, image_size)
        members = [member for group in self.manifest.groups for member in group.members]
        if missing := [f"{m.sample_id}.png" for m in members if m.sample_id not in self.files]:
            raise FileError(f"{root / IMAGES} lacks {len(missing)} of {len(members)} pictures: {first_few(missing)}")
        self._texts = {
            member.sample_id: self._texts_of(number, group, member)
            for number, group in enumerate(self.manifest.groups)
            for member in group.members
            if member.restored
        }
        self._ids = list(self._texts)

    def _texts_of(self, number: int, group: Group, member: Member) -> dict[str, str]:
        sigma = self.manifest.sigma
        numbers = (number, len(group.members), group.measurement_rmse / (sigma or 1.0), group.picture_rmse)
        texts = {role: f"{value:g}" for role, value in zip((GROUP, SIZE, APART, PICTURES), numbers, strict=True)}
        texts |= {**member.texts, "caption": member.caption, "wrong": member.wrong}
        others = [other for other in group.members if other is not member]
        for place, other in enumerate(others, start=1):
            texts[f"other_{place}"] = other.caption
            if other.texts.get("name"):
                texts[f"other_{place}_name"] = other.texts["name"]
        return texts
