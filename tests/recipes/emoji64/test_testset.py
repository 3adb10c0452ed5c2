"""The counterfactual captions of the packaged test set, and the search they come from."""

from __future__ import annotations

import csv
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path
from statistics import median

import pytest
import torch
from PIL import Image

from treg_exp.data.emoji_test import ROLES, EmojiTest
from treg_exp.recipes.emoji64.captions import styled_caption
from treg_exp.recipes.emoji64.corpus import Corpus, CorpusFolder
from treg_exp.recipes.emoji64.counterfactuals import (
    DIFFERS,
    candidates,
    compare,
    forced_to_fit,
    measure,
    nearest_of,
    report,
    sheet,
)
from treg_exp.recipes.emoji64.counterfactuals_chosen import CHOSEN
from treg_exp.recipes.emoji64.testset import (
    FIELDS,
    VALIDATION,
    shuffled_order,
    write_test_set,
    write_validation_set,
)

PACKAGED = Path(str(files("treg_exp") / "assets" / "emoji_test"))
CACHE = Path(__file__).parents[3] / "train" / "data"
SIGMA = 0.01  # of task=sr_x8


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return list(csv.DictReader((PACKAGED / "captions.csv").read_text().splitlines()))


def test_every_picture_has_a_counterfactual_of_another_name_in_its_style(rows: list[dict[str, str]]) -> None:
    assert tuple(rows[0]) == FIELDS
    assert [row["sample_id"] for row in rows] == shuffled_order()
    assert sorted(CHOSEN) == sorted(shuffled_order())
    assert shuffled_order()[:3] == ["police_car-twemoji", "sunrise-noto", "bridge_at_night-fluent"], (
        "the order is fixed"
    )
    assert len({row["sample_id"] for row in rows}) == 200
    for row in rows:
        name = CHOSEN[row["sample_id"]]
        assert row["caption"] == styled_caption(row["name"], row["style"])
        assert row["counterfactual"] == styled_caption(name, row["style"])
        assert row["counterfactual_name"] == name
        assert name != row["name"]
        assert row["counterfactual"] != row["caption"]


def test_no_counterfactual_is_a_variant_of_the_same_thing(rows: list[dict[str, str]]) -> None:
    # Expressions and gestures share words, and so do suits; what else does would be a leopard face for a leopard.
    common = {"face", "with", "eyes", "open", "mouth", "smiling", "cat", "monkey", "see-no-evil", "suit"}
    shared = {row["sample_id"]: set(row["name"].split()) & set(CHOSEN[row["sample_id"]].split()) for row in rows}
    assert {sample_id for sample_id, words in shared.items() if words - common} == set()


def test_one_counterfactual_does_not_serve_for_many(rows: list[dict[str, str]]) -> None:
    used = Counter(row["counterfactual"] for row in rows)
    assert len(used) >= 190
    assert max(used.values()) <= 2


def test_figures_of_the_counterfactuals(rows: list[dict[str, str]]) -> None:
    measured = [float(row["measurement_rmse"]) for row in rows]
    whole = [float(row["picture_rmse"]) for row in rows]
    assert median(measured) < 0.28
    assert median(measured[:24]) == pytest.approx(median(measured), abs=0.03), "the first N are any N"
    assert max(measured) < 0.57
    assert median(whole) > 0.42
    assert min(whole) > 0.19
    assert all(b > 1.15 * a for a, b in zip(measured, whole, strict=True))
    assert min(measured) > 8 * SIGMA  # what the README says: no drawing as such fits the measurement


def test_readme_reports_these_figures(rows: list[dict[str, str]]) -> None:
    text = (PACKAGED / "README.md").read_text()
    faces = [row for row in rows if "face" in row["name"]]
    for label, part in (("all 200", rows), ("the first 24 rows", rows[:24]), (f"{len(faces)} whose name", faces)):
        line = next(line for line in text.splitlines() if line.startswith(f"| {label}"))
        reported = iter(float(number) for number in re.findall(r"\d\.\d{3}", line))
        for column in ("measurement_rmse", "picture_rmse", "measurement_rmse_x16"):
            values = [float(row[column]) for row in part]
            for value in (median(values), min(values), max(values)):
                assert next(reported) == pytest.approx(value, abs=6e-4)
        above = [sum(float(row["measurement_rmse"]) > limit for row in part) for limit in (0.15, 0.3)]
        assert line.endswith(f"| {above[0]} | {above[1]} |")
    assert f"The {sum(float(row['measurement_rmse']) > 0.45 for row in rows)} pairs above 0.45" in text
    assert sum(float(row["measurement_rmse_x16"]) < 0.05 for row in rows) == 7
    assert "At x16 seven of the 200 come within" in " ".join(text.split())


def test_figures_follow_from_the_packaged_pictures(rows: list[dict[str, str]], corpus: Corpus) -> None:
    """Where the other thing is in the test set too, its picture is at hand."""
    where = {(row["name"], row["style"]): index for index, row in enumerate(rows)}
    checked = 0
    for index, row in enumerate(rows):
        other = where.get((CHOSEN[row["sample_id"]], row["style"]))
        if other is not None:
            (found,) = compare(corpus, index, [other])
            assert found.measurement_rmse == pytest.approx(float(row["measurement_rmse"]), abs=6e-4)
            assert found.coarse_rmse == pytest.approx(float(row["measurement_rmse_x16"]), abs=6e-4)
            assert found.picture_rmse == pytest.approx(float(row["picture_rmse"]), abs=6e-4)
            checked += 1
    assert checked >= 5


def test_the_data_set_offers_all_of_them() -> None:
    data = EmojiTest(only="counterfactual")
    assert len(data) == 200
    assert set(data.captions(0)) == set(ROLES)  # the figures are no texts to restore with


def test_search_gives_the_nearest_other_names_that_differ(corpus: Corpus) -> None:
    found = candidates(corpus, 0, count=5)
    style = corpus.pictures[0].style
    distances = [candidate.measurement_rmse for candidate in found]
    assert len(found) == 5
    assert distances == sorted(distances)
    assert len({candidate.name for candidate in found} | {corpus.pictures[0].name}) == 6
    for candidate in found:
        assert corpus.pictures[candidate.index].style == style
        assert candidate.picture_rmse >= DIFFERS
        own, other = (corpus.as_float(torch.tensor([index])) for index in (0, candidate.index))
        assert candidate.picture_rmse == pytest.approx(float((own - other).square().mean().sqrt()), rel=1e-4)
    rivals = [index for index, picture in enumerate(corpus.pictures) if picture.style == style and index != 0]
    assert distances[0] == min(
        candidate.measurement_rmse for candidate in compare(corpus, 0, rivals) if candidate.picture_rmse >= DIFFERS
    )
    assert candidates(corpus, 0, differs=3.0) == []


def test_a_name_that_the_artist_did_not_draw_is_refused(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="no picture of 'unicorn' in twemoji style"):
        nearest_of(corpus, 0, "unicorn")


def test_forcing_to_fit_meets_the_other_measurement(corpus: Corpus) -> None:
    target, grey = corpus.as_float(torch.tensor([0])), torch.zeros(1, 3, 64, 64)
    assert measure(target).shape == (1, 3, 8, 8)
    mild = target / 4  # so that nothing is clamped
    torch.testing.assert_close(measure(forced_to_fit(grey, mild)), measure(mild), atol=1e-3, rtol=0)
    torch.testing.assert_close(forced_to_fit(target, target), target, atol=1e-4, rtol=0)


def test_sheets_and_list(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = sheet(corpus, [[0, 1], [2]])
    assert picture.shape == (3, 2 * (3 * 64 + 8), 2 * 68)
    assert picture.abs().max() <= 1
    given = corpus.pictures[corpus.split.test[0]]
    other = next(item for item in corpus.pictures if item.style == given.style and item.name != given.name)
    monkeypatch.setattr("treg_exp.recipes.emoji64.counterfactuals.CHOSEN", {given.sample_id: other.name})
    report(corpus, 2, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines] == ["*", " ", " "]
    assert lines[0].split()[1] == given.sample_id
    assert other.name in lines[0]
    with Image.open(tmp_path / "candidates_000.png") as image:
        assert image.size == (4 * 68, 3 * 64 + 8)


def test_choices_that_do_not_go_with_the_corpus_are_refused(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="test pictures and counterfactuals differ"):
        write_test_set(corpus, tmp_path)
    unknown = {corpus.pictures[index].sample_id: "unicorn" for index in corpus.split.test}
    monkeypatch.setattr("treg_exp.recipes.emoji64.testset.CHOSEN", unknown)
    with pytest.raises(ValueError, match=r"never trained on: \['unicorn'\]"):
        write_test_set(corpus, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not (CACHE / "pictures.npz").is_file(), reason="needs the corpus in train/data")
def test_the_packaged_set_is_what_the_corpus_gives(tmp_path: Path) -> None:
    write_test_set(CorpusFolder(CACHE).load(), tmp_path)
    assert (tmp_path / "captions.csv").read_bytes() == (PACKAGED / "captions.csv").read_bytes()
    for path in (PACKAGED / "images").glob("*.png"):
        assert (tmp_path / "images" / path.name).read_bytes() == path.read_bytes()


def test_validation_pictures_are_held_out_and_not_tested(corpus: Corpus, tmp_path: Path) -> None:
    write_validation_set(corpus, tmp_path)
    rows = list(csv.DictReader((tmp_path / "captions.csv").read_text().splitlines()))
    names = [path.stem for path in sorted((tmp_path / "images").glob("*.png"))]
    assert names == [row["sample_id"] for row in rows]
    unseen = {p.sample_id for i in corpus.split.held_out if i not in corpus.split.test for p in [corpus.pictures[i]]}
    assert {name.partition("-")[2] for name in names} <= unseen
    assert len(names) == min(VALIDATION, len(unseen))
    assert all(row["caption"] == styled_caption(row["name"], row["style"]) for row in rows), "the judge wants names"
