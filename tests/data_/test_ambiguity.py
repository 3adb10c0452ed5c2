"""Groups of pictures: the manifest, and the data set that is made of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.ambiguity.tasks import built_task
from treg_exp.ambiguity.measuring import Measured
from treg_exp.data.ambiguity import PACKAGED, AmbiguityGroups
from treg_exp.data.folder import ImageFolder
from treg_exp.data.group_manifest import Group, GroupManifest, Member, tasks_of
from treg_exp.errors import FieldError, FileError
from treg_exp.metrics.networks.judge import load_judge
from treg_exp.shipped import read_hashes
from treg_exp.signals.image import save_png


def member(name: str, **values) -> Member:
    return Member(name, f"a {name}", "a spoon", **{"texts": {"name": name, "wrong_name": "spoon"}, **values})


PAIR = Group((member("cat"), member("dog")), 0.02, 0.3)
TRIPLE = Group((member("red"), member("green", restored=False), member("blue")), 0.03, 0.4, 0.5, 0.9)
MANIFEST = GroupManifest("grey", {"_target_": "Greyscale"}, 0.01, {"closest": 5.0}, 10, (PAIR, TRIPLE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cat", "dog", "red", "green", "blue"):
        save_png(torch.zeros(3, 8, 8), tmp_path / "images" / f"{name}.png")
    MANIFEST.write(tmp_path)
    return tmp_path


def test_manifest_comes_back(folder: Path) -> None:
    assert GroupManifest.read(folder, "grey") == replace(MANIFEST, groups=[PAIR, TRIPLE], rejected=[])
    assert tasks_of(folder) == ["grey"]


def test_every_member_to_restore_has_the_texts_of_the_others(folder: Path) -> None:
    source = AmbiguityGroups("grey", 8, folder)
    assert source.ids == ["cat", "dog", "red", "blue"]  # green lends its text only
    texts = {sample_id: source.captions(i) for i, sample_id in enumerate(source.ids)}
    assert texts["cat"]["other_1"] == "a dog"
    assert "other_2" not in texts["cat"]
    assert (texts["blue"]["other_1"], texts["blue"]["other_2_name"]) == ("a red", "green")
    assert texts["dog"]["wrong"] == "a spoon"
    assert texts["dog"]["wrong_name"] == "spoon"
    numbers = [texts["red"][role] for role in ("group", "group_size", "group_sigma", "group_picture_rmse")]
    assert numbers == ["1", "3", "3", "0.4"]


def broken(folder: Path, change) -> str:
    file = folder / "grey.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(FileError) as error:
        AmbiguityGroups("grey", 8, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: m.update(groups=[]), "has no groups"),
        (lambda m: m.update(format=2), "format 1"),
        (lambda m: m.update(task="other"), "holds the groups of 'other'"),
        (lambda m: m.pop("sigma"), "'sigma' is missing"),
        (lambda m: m["groups"][0].update(members=m["groups"][0]["members"][:1]), "has 1 members"),
        (lambda m: m["groups"][1]["members"][0].update(sample_id="cat"), "cat is in group 0 already"),
        (lambda m: m["groups"][0]["members"][0].update(sample_id="../cat"), "is no sample id"),
        (lambda m: m["groups"][0]["members"][1].update(caption="a cat"), "the same caption"),
        (lambda m: m["groups"][0]["members"][1].update(wrong=" "), "needs a caption and a wrong one"),
        (lambda m: [x.update(restored=False) for x in m["groups"][0]["members"]], "no member to restore"),
        (lambda m: m["groups"][0].update(colour="red"), "colour"),
        (lambda m: m["groups"][0]["members"][0].pop("wrong"), "wrong"),
    ],
)
def test_a_damaged_manifest_says_what_is_wrong(folder: Path, change, told: str) -> None:
    assert told in broken(folder, change)


def test_a_missing_picture_is_named(folder: Path) -> None:
    (folder / "images" / "green.png").unlink()
    with pytest.raises(FileError, match=r"lacks 1 of 5 pictures: green\.png"):
        AmbiguityGroups("grey", 8, folder)


def test_a_task_without_groups_says_which_have_some(folder: Path) -> None:
    with pytest.raises(FileError, match="no groups for the task sr_x4, only for: grey; find some with treg-exp pairs"):
        AmbiguityGroups("sr_x4", 8, folder)
    with pytest.raises(FieldError, match="path"):
        AmbiguityGroups("grey", 8, folder / "nowhere")
    (folder / "grey.json").write_text("{")
    with pytest.raises(FileError, match="no valid JSON"):
        AmbiguityGroups("grey", 8, folder)


@pytest.mark.parametrize("task", ["sr_x16", "colourisation", "box_inpainting"])
def test_packaged_groups_are_near_as_measured_and_far_as_pictures(task: str) -> None:
    """Their figures hold for the pictures as they lie there, and the judge mostly knows the true ones."""
    source = AmbiguityGroups(task)
    pictures = ImageFolder(PACKAGED / "images", 64)
    position = {sample_id: i for i, sample_id in enumerate(pictures.ids)}
    measured, judge, right = Measured(pictures, built_task(task), (3, 64, 64)), load_judge(), []
    for group in source.manifest.groups:
        places = [position[m.sample_id] for m in group.members]
        apart = [measured.apart(a, b) for a in places for b in places if a < b]
        assert max(d for d, _ in apart) == pytest.approx(group.measurement_rmse, rel=1e-4, abs=1e-6)
        assert min(d for _, d in apart) == pytest.approx(group.picture_rmse, rel=1e-4)
        assert group.measurement_rmse <= source.manifest.search["closest"] * source.manifest.sigma
        texts = judge.text_features([m.texts["name"] for m in group.members])
        images = judge.image_features(torch.stack([pictures[i].target for i in places]))
        right += (images @ texts.T).argmax(1).eq(torch.arange(len(places))).tolist()
    assert sum(right) / len(right) > 0.8


def test_packaged_pictures_are_those_of_the_groups(tmp_path: Path) -> None:
    named = {m.sample_id for t in tasks_of(PACKAGED) for g in GroupManifest.read(PACKAGED, t).groups for m in g.members}
    assert {file.stem for file in (PACKAGED / "images").iterdir()} == named
    assert set(read_hashes(PACKAGED)) == {
        *(f"images/{name}.png" for name in named), *(f"{task}.json" for task in tasks_of(PACKAGED)), "rejected.csv"
    }  # fmt: skip
    shutil.copytree(PACKAGED, tmp_path / "copy")
    assert AmbiguityGroups("sr_x16", 64, tmp_path / "copy").ids == AmbiguityGroups("sr_x16").ids
