"""mode=fit: what nothing reads is refused, in the configuration and in its recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from tests.conftest import ROOT
from treg_exp.configuration.keys import check_recipe
from treg_exp.errors import ConfigError
from treg_exp.training.fit import fit

RECIPES = sorted(file.stem for file in (ROOT / "conf/recipe/emoji64").glob("*.yaml") if file.stem != "shared")
WRONG = {
    "seed=3": r"^seed: nothing reads it; did you mean recipe\.seed\?$",
    "draws=3": r"^draws: nothing reads it with mode=fit but recipe, run_dir, dry_run, mode$",
    "+data.limit=3": r"^data: nothing reads it; did you mean recipe\.data\?$",
    "+recipe.foo=1": r"^recipe\.foo: nothing reads it",
    "+recipe.budgets=1": r"^recipe\.budgets: nothing reads it; did you mean budget\?$",
    "+recipe.steps=1": r"^recipe\.steps: nothing reads it; did you mean budget\.steps\?$",
    "~recipe.seed": r"^recipe\.seed: is missing",
    "recipe.seed=a": r"^recipe\.seed=a: must be an integer",
    "recipe.seed=-1": r"^recipe\.seed=-1: must be an integer >= 0",
    "recipe.callbacks=3": r"^recipe\.callbacks=3: must be a mapping of names$",
    "+recipe.budget.minute=3": r"^recipe\.budget\.minute: Budget takes no such value; did you mean minutes\?$",
    "recipe.budget.minutes=-3": r"^recipe\.budget\.minutes=-3: must be > 0",
    "+recipe.trainer.precission=3": r"^recipe\.trainer\.precission: .*; did you mean precision\?$",
    "recipe.trainer.log_every_n_steps=a": r"^recipe\.trainer\.log_every_n_steps=a: must be an integer or null$",
    "+recipe.optimizer.rates=3": r"^recipe\.optimizer\.rates: MuonAdam takes no such value; did you mean rate\?$",
}


def composed(*overrides: str):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", overrides=["mode=fit", *overrides])


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_what_a_training_reads(recipe: str) -> None:
    check_recipe(composed(f"recipe=emoji64/{recipe}").recipe)


@pytest.mark.parametrize("override", WRONG)
def test_wrong_keys_are_refused_before_the_corpus_is_read(override: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=WRONG[override]) as caught:
        fit(composed("recipe=emoji64/unet", f"run_dir={tmp_path}", override))
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_whole() -> None:
    with pytest.raises(ConfigError, match=r"^recipe\.budget\.minutes has no value"):
        fit(composed("recipe=emoji64/shared"))
