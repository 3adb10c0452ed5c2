"""The score of the ambiguity benchmark on rows whose answer is known."""

from __future__ import annotations

import math
from itertools import product

import pytest

from treg_exp.reports.ambiguity import summarise_ambiguity
from treg_exp.reports.ambiguity_table import ambiguity_lines, markdown_table

TEXTS = ("own", "other_1", "other_2")


def rows_of(picked, groups=4, texts=2, draws=2, members=1, **numbers):
    """Rows in which the judge picks ``picked(variant, draw)`` for every restoration."""
    told = (*TEXTS[:texts], "no_text", "wrong")
    for group, member, variant, draw in product(range(groups), range(members), told, range(draws)):
        best = picked(variant, draw)
        scores = {f"judge_of_{t}": 0.1 + 0.5 * (t == best) for t in (*TEXTS[:texts], "wrong")}
        scores |= {f"judge_of_{t}": None for t in TEXTS[texts:]}
        true = {f"target_judge_of_{t}": 0.9 * (t == "own") for t in TEXTS[:texts]}
        key = {"sample_id": f"g{group}m{member}", "variant": variant, "draw": draw, "prompt": ""}
        own = {name: f(variant) for name, f in numbers.items()}
        yield {**key, **scores, **true, "group": float(group), "group_sigma": 3.0, **own}


def test_a_solver_that_obeys_gets_one() -> None:
    score = summarise_ambiguity(rows_of(lambda variant, draw: variant if variant != "no_text" else "own"))
    assert score["groups"] == 4
    assert score["pictures"] == 4
    assert score["restorations"] == 32
    assert score["pick"]["mean"] == score["pick_own"]["mean"] == score["pick_other"]["mean"] == 1
    assert score["pick"]["low"] == pytest.approx(0.025**0.25)  # exact binomial bound of 4 of 4
    assert score["wrong_picked"]["mean"] == 1
    assert score["wrong_without_text"]["mean"] == 0
    assert score["own_without_text"]["mean"] == 1
    assert score["ceiling"]["mean"] == 1
    assert score["margin"]["mean"] == pytest.approx(0.5)
    assert score["apart_sigma"]["mean"] == 3


def test_a_solver_that_does_the_contrary_gets_none() -> None:
    score = summarise_ambiguity(rows_of(lambda variant, draw: "other_1" if variant == "own" else "own"))
    assert score["pick"]["mean"] == 0
    assert score["pick"]["high"] == pytest.approx(1 - 0.025**0.25)
    assert score["margin"]["mean"] == pytest.approx(-0.5)


@pytest.mark.parametrize(("texts", "chance"), [(2, 1 / 2), (3, 1 / 3)])
@pytest.mark.parametrize("always", ["own", "other_1"])
def test_a_deaf_solver_gets_chance_whatever_it_shows(texts: int, chance: float, always: str) -> None:
    score = summarise_ambiguity(rows_of(lambda variant, draw: always, texts=texts))
    assert score["chance"] == pytest.approx(chance)
    assert score["margin"]["mean"] == pytest.approx(0, abs=1e-12)
    assert score["above_chance"]["high"] == pytest.approx(0, abs=1e-12)
    assert score["pick"]["mean"] == pytest.approx(chance)
    assert score["pick_own"]["mean"] == (always == "own")
    assert score["wrong_chance"] == pytest.approx(1 / (texts + 1))


def test_groups_count_once_however_many_pictures_they_have() -> None:
    """One group of two obedient pictures, one of a single picture that always shows its own thing."""
    rows = [*rows_of(lambda variant, draw: variant if variant in TEXTS else "own", groups=1, members=2)]
    rows += [{**row, "group": 9.0, "sample_id": "alone"} for row in rows_of(lambda v, d: "own", groups=1)]
    score = summarise_ambiguity(rows)
    assert (score["groups"], score["pictures"]) == (2, 3)
    assert score["pick"]["mean"] == pytest.approx((1 + 0.5) / 2)


def test_draws_are_averaged() -> None:
    score = summarise_ambiguity(rows_of(lambda variant, draw: variant if draw else "wrong", draws=4))
    assert score["pick"]["mean"] == pytest.approx(0.75)  # both texts score 0.1 in draw 0: neither is picked
    score = summarise_ambiguity(rows_of(lambda variant, draw: variant if draw < 3 else "own", draws=4))
    assert score["pick_own"]["mean"] == 1
    assert score["pick_other"]["mean"] == pytest.approx(0.75)


def test_residuals_and_psnr_are_paired() -> None:
    values = {"own": 1.0, "other_1": 1.5, "wrong": 2.0, "no_text": 1.0}
    gain = {"own": 24.0, "other_1": 18.0, "wrong": 12.0, "no_text": 21.0}
    score = summarise_ambiguity(rows_of(lambda v, d: "own", residual=values.get, psnr=gain.get))
    assert {name: s["mean"] for name, s in score["residual"].items()} == {
        "own": 1.0, "other": 1.5, "wrong": 2.0, "no_text": 1.0
    }  # fmt: skip
    assert score["residual_rise"]["mean"] == 0.5
    assert score["psnr_gain"]["mean"] == 3
    assert score["residual_before"]["own"] is None


def test_variance_ratio_is_geometric_and_ignores_draws_that_do_not_differ() -> None:
    rows = list(rows_of(lambda v, d: "own", groups=3))
    stds = {"g0m0": (0.1, 0.2), "g1m0": (0.2, 0.2), "g2m0": (0.1, 0.0)}
    posterior = [
        {"sample_id": sample_id, "variant": variant, "posterior_std": std}
        for sample_id, pair in stds.items()
        for variant, std in zip(("own", "no_text"), pair, strict=True)
    ]
    ratio = summarise_ambiguity(rows, posterior)["variance_ratio"]
    assert ratio["own"]["mean"] == pytest.approx(math.sqrt(0.25 * 1))
    assert ratio["own"]["n"] == 2
    assert ratio["other"] is None


def test_pictures_without_all_texts_are_told_and_left_out() -> None:
    rows = [r for r in rows_of(lambda v, d: v) if (r["sample_id"], r["variant"]) != ("g0m0", "other_1")]
    score = summarise_ambiguity(rows)
    assert (score["groups"], score["incomplete"]) == (3, 1)
    assert "1 pictures lack a text" in "\n".join(ambiguity_lines(score))


def test_other_runs_have_no_score() -> None:
    assert summarise_ambiguity([{"sample_id": "a", "variant": "own", "draw": 0}]) is None
    assert summarise_ambiguity([]) is None


def test_without_a_judge_the_rest_is_told() -> None:
    rows = [{k: v for k, v in r.items() if "judge" not in k} for r in rows_of(lambda v, d: v, residual=lambda v: 1.0)]
    score = summarise_ambiguity(rows)
    assert score["pick"] is None
    assert score["residual"]["own"]["mean"] == 1
    assert "metrics=ambiguity" in ambiguity_lines(score)[-1]


def test_another_judge_is_read_by_the_names_of_its_columns() -> None:
    rows = [{k.replace("judge_of_", "siglip_"): v for k, v in r.items()} for r in rows_of(lambda v, d: v)]
    assert summarise_ambiguity(rows)["pick"] is None
    assert summarise_ambiguity(rows, judge="siglip_")["pick"]["mean"] == 1


def test_tables_tell_chance_and_the_judges_own_errors() -> None:
    score = summarise_ambiguity(rows_of(lambda variant, draw: variant, residual=lambda v: 1.0))
    text = "\n".join(ambiguity_lines(score))
    assert "deaf to it gets 50 %" in text
    assert "true pictures: 100" in text
    table = markdown_table({"sr_x16": score})
    assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "| sr_x16 | 4 (4) | 3.0 |" in table
