"""What a run says at its start without stopping."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_config import TINY, VARIANTS, composed, experiment
from treg_exp.app import run

LONG = "a red apple " + "shiny " * 60


@pytest.mark.parametrize("dry", [True, False])
def test_texts_that_are_cut_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], dry: bool) -> None:
    """Prompt, null text and texts of other roles; two samples and two variants have the same ones."""
    overrides = ["experiment=single", "prompt=fixed", f"prompt.text='{LONG}'", "null_text=fixed"]
    overrides += [f"null_text.text='no {LONG}'", "+variants.weak.guidance.scale=1"]
    cfg = composed(*TINY[:2], TINY[3], *overrides, "data.limit=2", "solver.steps=1", "logger=csv", f"dry_run={dry}")
    cfg.run_dir = str(tmp_path / "r")
    run(cfg)
    out = capsys.readouterr().out
    assert out.count("note: 2 texts are longer than the ") == 1
    assert out.count(", 'shiny', of 'no a red apple shiny ") == out.count(", 'shiny', of 'a red apple shiny ") == 1
    assert list((tmp_path / "r").glob("*")) == [] or not dry


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["solver=p2l"], True),
        (["solver=p2l", "prompt_rule=prompt_tuning"], False),
        (["solver=best_of", "solver@solver.of=p2l", "prior.path=emoji64"], True),
        (["solver=psld"], False),
    ],
)
def test_p2l_without_its_prompt_is_a_note(overrides: list[str], told: bool) -> None:
    made = experiment("data.limit=1", *overrides, *VARIANTS)
    note = "project_every=8 is P2L's projection, but no rule tunes the prompt as P2L does (prompt_rule=prompt_tuning)"
    assert made.notes == ([note] if told else [])


def test_a_note_about_some_variants_names_them() -> None:
    tuned = ["+prompt_rule@variants.counterfactual.prompt_rule=prompt_tuning"]
    (note,) = experiment("data.limit=1", "solver=p2l", *VARIANTS, *tuned).notes
    assert note.startswith("own, no_text: project_every=8 is P2L's projection, but ")


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["metrics=judge"], "metrics.judge_alignment"),
        (["metrics=gallery"], "metrics.text_choice"),
        (["metrics=judge", "+metrics.second._target_=treg_exp.metrics.judge.JudgeAlignment",
          "+metrics.second.roles={second: name}"], "metrics.judge_alignment, metrics.second"),
        (["metrics=judge", "prior.path=emoji64"], ""),
        (["metrics=judge", "metrics.judge_alignment.folder=OWN"], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_the_judge_of_another_prior_is_a_note(overrides: list[str], names: str) -> None:
    """Its numbers mean something for emoji alone; a judge of the user's own is the user's word."""
    own = f"{ROOT}/src/treg_exp/assets/judge"
    plus = [o.replace("metrics.judge_alignment.folder", "+metrics.judge_alignment.folder") for o in overrides]
    made = experiment("data.limit=1", *(o.replace("OWN", own) for o in plus))
    told = f"{names}: the judge that ships has seen emoji only, so its numbers mean nothing for what prior tiny_model "
    assert [note[: len(told)] for note in made.notes] == ([told] if names else [])
