"""A variant is called after the text that it has, and one of an ablation by what differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_config import TINY, VARIANTS, composed, experiment
from treg_exp.app import run
from treg_exp.data.prompts import PromptFromCaption
from treg_exp.engine.work import Variant
from treg_exp.errors import ConfigError
from treg_exp.metrics.column import Columns
from treg_exp.reports.columns import read_columns, variant_label
from treg_exp.reports.table import render
from treg_exp.text.policy import TextPolicy
from treg_exp.variant_names import text_name

FIXED = ["prompt=fixed", "prompt.text='a cat'"]
ALONE = ["guidance=conditional", "null_text=off"]


def names(*overrides: str) -> list[str]:
    return list(experiment("data.limit=1", *overrides).variants)


@pytest.mark.parametrize(
    ("overrides", "name", "label"),
    [
        ([], "own", "own text"),
        (["prompt.role=name"], "own", "own text"),
        (["prompt=empty"], "empty_prompt", "empty prompt"),  # guidance and null text still work on it
        (["prompt=empty", *ALONE], "no_text", "no text"),
        (["prompt=fixed", "prompt.text='  '", *ALONE], "no_text", "no text"),
        (
            ["prompt=empty", "guidance=conditional", "null_text=negation", "prior.path=emoji64"],
            "empty_prompt",
            "empty prompt",
        ),
        (["text_weight=0"], "no_text", "no text"),  # the prompt is not read
        (["text_weight=0", "text_match=image_text", "prior.path=emoji64"], "no_text", "no text"),  # nor by a match
        (["text_weight=0", "solver=best_of", "prior.path=emoji64"], "own", "own text"),  # which chooses by it
        (
            ["text_weight=0", "guidance=conditional", "null_text=negation", "prior.path=emoji64"],
            "null_text_alone",
            "null text alone",
        ),
        (["guidance=interval", "guidance.scale=0"], "own", "own text"),  # outside the interval it is read
        (["guidance.scale=0", "null_text=fixed", "null_text.text=blurry"], "null_text_alone", "null text alone"),
        (["prompt=counterfactual"], "counterfactual", "counterfactual text"),
        (["prompt.role=counterfactual_name"], "counterfactual", "counterfactual text"),
        (FIXED, "fixed_text", "fixed text"),
        ([*FIXED, "variants={}"], "fixed_text", "fixed text"),
        (["prompt=random_caption"], "random_caption", "random caption"),
        (["prompt=style_word"], "style_word", "style word"),
    ],
)
def test_one_variant_is_called_after_its_text(overrides: list[str], name: str, label: str) -> None:
    made = experiment("experiment=single", *overrides, "data.limit=1")
    assert list(made.variants) == [made.items[0].variant] == [made.variants[name].name] == [name]
    assert variant_label(name, made.columns) == label


def test_names_that_promise_a_text_keep_it_or_lose_the_name() -> None:
    """What a variant inherits from the groups changes with them; names of the user's own say nothing of the text."""
    assert names(*VARIANTS) == ["own", "no_text", "counterfactual"]
    assert names(*VARIANTS, *FIXED) == ["fixed_text", "no_text", "counterfactual"]
    assert names(*VARIANTS, "prompt=counterfactual") == ["counterfactual_2", "no_text", "counterfactual"]
    assert names("+variants.mine.guidance.scale=1", *FIXED) == ["fixed_text", "mine"]
    assert names(*VARIANTS, "variants.no_text.prompt.text='a cat'")[1] == "fixed_text"
    study = ["no_text", "own", "negation", "counterfactual", "random_caption", "style_word"]
    emoji64 = "prior.path=emoji64"
    assert names("experiment=study/treg_released", emoji64) == study
    assert names("experiment=study/treg", "prompt=empty", emoji64) == ["no_text", "empty_prompt", *study[2:]]


def test_texts_of_other_kinds() -> None:
    """The role is the name, made fit for a folder; of a class of the user's own it is that of the class."""

    class ShuffledWords:
        def resolve(self, samples, whole=None): ...

    for prompt, name in ((PromptFromCaption("as/said"), "as_said_text"), (ShuffledWords(), "shuffled_words")):
        assert text_name(Variant("own", {"prompt": prompt}, TextPolicy())) == name


def test_an_error_still_names_the_place_in_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"^variants\.own\.prompt\.role=nothing: the data has no such text"):
        experiment("+variants.own.prompt.role=nothing")


def test_variants_of_an_ablation_are_labelled_by_what_differs() -> None:
    made = experiment(
        "data.limit=1", "+variants.weak.guidance.scale=1", "+variants.strong.guidance.scale=5", *VARIANTS,
        "+null_text@variants.strong.null_text=fixed",
    )  # fmt: skip
    assert made.columns.variants == {
        "own": "own text",
        "weak": "weak, guidance.scale=1",
        "strong": "strong, guidance.scale=5, null_text.text=out of focus, depth o...",
        "no_text": "no text",
        "counterfactual": "counterfactual text",
    }


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        ([], "no text"),
        (["+variants.no_text.guidance.scale=0"], "no text"),  # the null text alone, which is empty
        (["+variants.no_text.guidance.scale=3"], "no text"),
        (
            ["+variants.no_text.guidance.scale=0", "+variants.no_text.null_text.text=blurry"],
            "empty prompt, guidance.scale=0, null_text.text=blurry",
        ),
        (["+guidance@variants.no_text.guidance=conditional", "+variants.no_text.null_text.text=blurry"], "no text"),
        (
            [
                "+guidance@variants.no_text.guidance=conditional",
                "+variants.no_text.null_text.text=blurry",
                "+variants.no_text.text_weight=0.5",
            ],
            "empty prompt, text_weight=0.5, null_text.text=blurry",
        ),
        (
            ["+guidance@variants.no_text.guidance=ramp", "+prompt@variants.no_text.texts.null=caption"],
            "empty prompt, guidance=RampGuidance, texts.null=PromptFromCaption",
        ),
        (
            ["+null_text@variants.no_text.null_text=negation", "prior.path=emoji64"],
            "empty prompt, guidance.scale=2, null_text=AdaptiveNegation",
        ),
        (
            ["+text_match@variants.no_text.text_match=image_text", "prior.path=emoji64"],
            "empty prompt, text_match=ImageTextMatch",
        ),
    ],
)
def test_no_text_is_said_where_there_is_none(overrides: list[str], label: str) -> None:
    made = experiment("data.limit=1", "+prompt@variants.no_text.prompt=empty", *overrides)
    assert made.columns.variants["no_text"] == label


def test_the_released_study_says_what_its_no_text_is() -> None:
    made = experiment("experiment=study/treg_released", "data.limit=1", "prior.path=emoji64")
    label = "empty prompt, guidance.scale=0, null_text.text=out of focus, depth o..."
    assert made.columns.variants["no_text"] == label


def test_the_first_of_an_ablation_is_compared_with_the_others() -> None:
    made = experiment(
        "experiment=single", "~variants.own", "+variants.a.guidance.scale=1.5", "+variants.b.guidance.scale=3",
        "+variants.c.guidance.scale=1.5", "+variants.c.null_text.text=blurry", "data.limit=1",
    )  # fmt: skip
    assert list(made.columns.variants.values()) == [
        "a, guidance.scale=1.5, null_text.text=''", "b, guidance.scale=3", "c, null_text.text=blurry",
    ]  # fmt: skip


def test_labels_stay_with_the_run(tmp_path: Path) -> None:
    cfg = composed(*TINY, *FIXED, "+variants.weak.guidance.scale=1", "data.limit=1", "solver.steps=1", "logger=csv")
    cfg.run_dir = str(tmp_path)
    run(cfg)
    summary, columns = json.loads((tmp_path / "summary.json").read_text()), read_columns(tmp_path)
    assert list(summary["variants"]) == ["fixed_text", "weak"]
    table = render(summary, columns)
    assert "fixed text" in table
    assert "own" not in table.replace("own text", "")
    assert "weak, guidance.scale=1" in " ".join(table.split())
    assert columns.variants == {"fixed_text": "fixed text", "weak": "weak, guidance.scale=1"}
    Columns({}).write(tmp_path / "columns.json")
    assert variant_label("weak", Columns.read(tmp_path / "columns.json")) == "weak"
