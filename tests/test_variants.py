"""Texts by role: each is read by something, and what reads one finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_config import experiment
from treg_exp.errors import ConfigError

ALSO = ["+prompt@texts.also=fixed", "texts.also.text=in the snow"]
COMPOSED = ["guidance=composed", "guidance.weights={also: 0.5}"]


def test_a_further_text_has_a_role_and_a_weight() -> None:
    made = experiment("data.limit=2", *ALSO, *COMPOSED)
    assert made.items[0].told["also_text"] == "in the snow"
    assert made.variants["own"].policy.guidance.weights == {"also": 0.5}


def test_each_image_may_have_a_second_text_of_its_own(tmp_path: Path) -> None:
    """From a column of the data, or of a manifest."""
    made = experiment("data.limit=2", "+prompt@texts.also=caption", "texts.also.role=style", *COMPOSED)
    assert made.items[1].texts["also"] == made.source.captions(1)["style"]
    ids = list(made.source.ids)
    file = tmp_path / "second.csv"
    file.write_text(f"sample_id,also\n{ids[0]},in the snow\n{ids[1]},at night\n", encoding="utf-8")
    second = ["+prompt@texts.also=manifest", f"texts.also.path={file}", "texts.also.role=also"]
    made = experiment("data.limit=2", *second, *COMPOSED)
    assert [item.texts["also"] for item in made.items] == ["in the snow", "at night"]


def test_a_role_of_one_variant_is_read_there() -> None:
    made = experiment(
        "data.limit=1", *ALSO, "+guidance@variants.both.guidance=composed", "+variants.both.guidance.weights={also: -1}"
    )
    assert made.variants["both"].policy.roles == {"also"}
    assert made.columns.variants["both"] == "both, guidance=ComposedGuidance, guidance.weights.also=-1"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ALSO,
            r"^texts\.also: nothing reads a text of this role; guidance=composed guidance.weights='\{also: 1\}' would$",
        ),
        ([*ALSO, "guidance=composed"], r"^texts\.also: nothing reads a text of this role"),
        (
            COMPOSED,
            r"^guidance\.weights=\{'also': 0\.5\}: no text has the role also; add one: '\+prompt@texts\.also=fixed",
        ),
        (
            [*ALSO, *COMPOSED, "+prompt@texts.alsso=caption"],
            r"^texts\.alsso: nothing reads a text of this role; did you mean also\?$",
        ),
        (
            ["+prompt@variants.own.texts.also=caption"],
            r"^variants\.own\.texts\.also: nothing reads a text of this role",
        ),
        (
            [*ALSO, *COMPOSED, "+variants.own.guidance.weights={beside: 1}"],
            r"^texts\.also: nothing reads a text of this role",
        ),
        (
            [*ALSO, *COMPOSED, "+variants.own.guidance.weights={also: 1, beside: 1}"],
            r"^variants\.own\.guidance\.weights=.*: no text has the role beside; add one",
        ),
        (["+prompt@texts.prompt=counterfactual"], r"^texts\.prompt: nothing reads it, the prompt itself is prompt$"),
        (
            ["+prompt@variants.own.texts.prompt=counterfactual"],
            r"^variants\.own\.texts\.prompt: nothing reads it, the prompt itself is variants\.own\.prompt$",
        ),
        (
            ["experiment=edit", "texts.source.role=caption", "+prompt@texts.sorce=caption"],
            r"^texts\.sorce: nothing reads a text of this role; did you mean source\?$",
        ),
    ],
)
def test_a_role_that_nothing_reads_or_that_has_no_text_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        experiment("data.limit=1", *overrides)


def test_a_solver_that_ignores_the_image_of_an_edit_may_ignore_its_text() -> None:
    assert experiment("experiment=edit", "solver=unconditional", "data.limit=1").items[0].texts["source"]


def test_the_weight_of_text_is_that_of_the_run_or_the_variants_own() -> None:
    made = experiment("data.limit=1", "text_weight=0.5", "+variants.own={}", "+variants.loud.text_weight=2")
    assert {name: variant.policy.weight for name, variant in made.variants.items()} == {"own": 0.5, "loud": 2.0}


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("text_weight=loud", "text_weight=loud"),
        ("text_weight=101", "text_weight=101"),
        ("text_weight=null", "text_weight=null"),
        ("+variants.own.text_weight=-1", "variants.own.text_weight=-1"),
        ("+variants.own.text_weight=true", "variants.own.text_weight=true"),
    ],
)
def test_a_weight_that_is_none_is_refused(override: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment("data.limit=1", override)
    assert (
        str(caught.value) == f"{key}: must be a number in [0, 100] (0: the null text alone, 1: the rules as they are)"
    )
