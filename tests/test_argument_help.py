"""The help of ``treg-exp``: each default is told once, and what it says of a training is what is trained."""

from __future__ import annotations

import pytest

from treg_exp.cli import main
from treg_exp.recipes.emoji64.command import recipe_config

COMMANDS = ("study", "train-prior", "doctor", "bench", "pairs", "ambiguity", "report", "benchmark")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_each_default_once(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "(default: None)" not in told
    assert ") (default:" not in told


def test_device_and_precision_are_the_recipes_unless_they_are_given() -> None:
    assert recipe_config("unet_gpu").recipe.trainer.accelerator == "gpu"
    assert recipe_config("unet_gpu", device="cpu", precision="bf16").recipe.trainer == {
        **recipe_config("unet_gpu").recipe.trainer, "accelerator": "cpu", "precision": "bf16"
    }  # fmt: skip
