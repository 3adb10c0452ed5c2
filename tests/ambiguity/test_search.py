"""The search finds planted groups, all of them and only those."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from treg_exp.ambiguity import neighbours
from treg_exp.ambiguity.grouping import Pair, disjoint_groups
from treg_exp.ambiguity.measuring import Measured
from treg_exp.ambiguity.neighbours import near_pairs, sketch
from treg_exp.ambiguity.search import SearchSettings, find_pairs, search
from treg_exp.data.folder import ImageFolder
from treg_exp.data.group_manifest import Rejected
from treg_exp.errors import FieldError
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.colour import Greyscale
from treg_exp.operators.linear.masking import BoxInpainting, RandomInpainting
from treg_exp.operators.noise.gaussian import GaussianNoise
from treg_exp.signals.image import save_png
from treg_exp.tasks.inverse import InverseTask

SIZE, SHAPE = 16, (3, 16, 16)


def task(operator=lambda signal_shape: Greyscale("mean", signal_shape), sigma: float = 0.01) -> InverseTask:
    return InverseTask(operator, GaussianNoise(sigma), "grey")


@pytest.fixture
def planted(tmp_path: Path) -> ImageFolder:
    """30 random pictures; 0, 1, 2 and 3, 4 differ in colour alone; 5 is 6 once more; 7, 8 are a pair of text only."""
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(30, 3, SIZE, SIZE, generator=generator) * 1.0 - 0.5
    tint = torch.tensor([0.3, -0.2, -0.1])[:, None, None]
    base[1], base[2], base[4] = base[0] + tint, base[0] - tint, base[3] + tint
    base[6], base[8] = base[5], base[7] + tint
    with (tmp_path / "captions.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["sample_id", "caption", "name", "style", "category", "restored"])
        for i, picture in enumerate(base):
            save_png(picture, tmp_path / "images" / f"p{i:02d}.png")
            kind = f"kind {i % 4}"
            rows.writerow(
                [f"p{i:02d}", f"thing {i}, ink", f"thing {i}", "ink", kind, "no" if i in (7, 8, 2) else "yes"]
            )
    return ImageFolder(tmp_path / "images", SIZE, tmp_path / "captions.csv")


ABOUT = ("grey", {"_target_": "Greyscale"}, 0.01)


def found(source, settings=None, rejected=(), **kwargs):
    measured = Measured(source, task(), SHAPE)
    manifest = search(source, measured, ABOUT, settings or SearchSettings(), rejected, **kwargs)
    return [tuple(member.sample_id for member in group.members) for group in manifest.groups], manifest


@pytest.mark.parametrize("size", [4096, 7])  # without a sketch and with a coarse one
def test_planted_groups_and_only_those(planted, size: int) -> None:
    groups, manifest = found(planted, SearchSettings(sketch=size))
    assert sorted(groups) == [("p00", "p01", "p02"), ("p03", "p04")]
    assert manifest.searched == 30
    assert manifest.sigma == 0.01
    group = next(g for g in manifest.groups if len(g.members) == 3)
    assert [m.restored for m in group.members] == [True, True, False]
    assert group.picture_rmse == pytest.approx((0.14 / 3) ** 0.5, abs=0.01)  # of the tint
    assert group.measurement_rmse < 0.005
    assert group.left_open > 0.99


def test_pairs_where_triples_are_not_wanted(planted) -> None:
    groups, _ = found(planted, SearchSettings(largest=2))
    assert sorted(map(len, groups)) == [2, 2]
    assert (
        found(planted, SearchSettings(most=1))[0] == groups[:1] or len(found(planted, SearchSettings(most=1))[0]) == 1
    )


def test_what_was_taken_out_by_eye_stays_out(planted) -> None:
    first = Rejected("p01", "p00", "the same")
    groups, manifest = found(
        planted, rejected=[first, Rejected("p03", "*", "ugly"), Rejected("p10", "p11", "other task")]
    )
    assert len(groups) == 1
    assert not {"p03", "p04"} & set(groups[0])
    assert groups[0] != ("p00", "p01", "p02")
    assert [entry.reason for entry in manifest.rejected] == ["the same", "ugly"]  # those that did something
    with pytest.raises(FieldError, match="reject=p99"):
        found(planted, rejected=[Rejected("p99", "p00", "gone")])


def test_unrelated_texts_are_of_another_kind_and_of_no_member(planted) -> None:
    _, manifest = found(planted)
    for group in manifest.groups:
        captions = {member.caption for member in group.members}
        for member in group.members:
            number = int(member.wrong.split()[1].strip(","))
            assert member.wrong not in captions
            assert f"kind {number % 4}" != member.texts["category"]
            assert member.texts["wrong_name"] == f"thing {number}"


def test_what_the_measurement_shows_is_no_group(planted) -> None:
    """A task that keeps everything leaves nothing open."""
    whole = task(lambda signal_shape: BicubicDownsampling(1, signal_shape), sigma=0.5)
    measured = Measured(planted, whole, SHAPE)
    texts = [planted.captions(i) for i in range(len(planted))]
    assert find_pairs(planted, measured, texts, 0.5, SearchSettings(left_open=0.0)) != []
    near = task(lambda signal_shape: BicubicDownsampling(1, signal_shape), sigma=0.01)
    assert Measured(planted, near, SHAPE).left_open(0, 1) < 0.01


def test_features_ask_for_different_things(planted) -> None:
    with pytest.raises(FieldError, match="--encoder"):
        found(planted, SearchSettings(features=0.1))

    def mean_colour(pictures):
        return torch.nn.functional.normalize(pictures.mean(dim=(2, 3)), dim=-1)

    groups, manifest = found(planted, SearchSettings(features=0.5), features=mean_colour)
    assert groups
    assert all(group.feature_distance >= 0.5 for group in manifest.groups)


def test_nothing_found_says_what_to_change(planted) -> None:
    with pytest.raises(FieldError, match=r"closest=1e-09.*larger one"):
        found(planted, SearchSettings(closest=1e-9, differs=0.3))


@pytest.mark.parametrize(
    ("operator", "match"),
    [
        (
            lambda signal_shape, sample_ids, seed: RandomInpainting(0.5, signal_shape, sample_ids, seed),
            "another operator",
        ),
        (
            lambda signal_shape: BoxInpainting((0.0, 0.0, 1.0, 1.0), signal_shape),
            "measures nothing|hides everything|box",
        ),
    ],
)
def test_tasks_without_a_common_measurement(planted, operator, match: str) -> None:
    with pytest.raises(FieldError, match=match):
        Measured(planted, task(operator), SHAPE)


@pytest.mark.parametrize(
    ("field", "value"), [("closest", -1), ("differs", 3), ("largest", 4), ("most", 0), ("left_open", 2)]
)
def test_settings_that_cannot_work(field: str, value: float) -> None:
    with pytest.raises(FieldError, match=field):
        replace(SearchSettings(), **{field: value})


def test_near_pairs_are_those_of_a_plain_loop() -> None:
    vectors = torch.randn(300, 20, generator=torch.Generator().manual_seed(1))
    pairs = torch.cat(list(near_pairs(vectors, 4.0, block=64)))
    apart = torch.cdist(vectors.double(), vectors.double())
    wanted = {(i, j) for i in range(300) for j in range(i + 1, 300) if apart[i, j] <= 4.0}
    assert len(wanted) > 100
    assert wanted <= {tuple(pair) for pair in pairs.tolist()}
    assert len(pairs) <= len(wanted) * 1.01
    codes = torch.stack([torch.arange(300) % 2, torch.arange(300)]).T
    same = torch.cat(list(near_pairs(vectors, 4.0, codes, block=64)))
    assert len(same) == sum((i - j) % 2 == 0 for i, j in pairs.tolist())


def test_too_many_pairs_end_the_search(monkeypatch) -> None:
    monkeypatch.setattr(neighbours, "MOST_PAIRS", 10)
    with pytest.raises(neighbours.TooManyPairsError, match="leaves over 10 pairs"):
        list(near_pairs(torch.zeros(20, 3), 1.0))


@pytest.mark.parametrize("size", [1, 7, 64, 100, 101])
def test_a_sketch_never_makes_distances_larger(size: int) -> None:
    values = torch.randn(40, 101, generator=torch.Generator().manual_seed(2))
    short = sketch(values, size)
    assert short.shape[1] <= size
    far, near = ((x[:, None] - x[None]).double().square().sum(2).sqrt() for x in (values, short))  # cdist is inexact
    assert (near <= far + 1e-6).all()


def test_groups_are_disjoint_and_nearest_first() -> None:
    pairs = [Pair(0.1, 0, 1), Pair(0.2, 1, 2), Pair(0.3, 0, 2), Pair(0.05, 3, 4), Pair(0.4, 2, 5)]
    assert disjoint_groups(pairs, [True] * 6, 3) == [(3, 4), (0, 1, 2)]
    assert disjoint_groups(pairs, [True] * 6, 2) == [(3, 4), (0, 1), (2, 5)]
    assert disjoint_groups(pairs, [False, False, True, False, False, True], 2) == [(1, 2)]
    assert disjoint_groups(pairs, [True] * 6, 2, most=1) == [(3, 4)]
