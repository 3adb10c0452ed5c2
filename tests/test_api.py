"""The five lines of the README."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.conftest import ROOT
from treg_exp import api
from treg_exp.api import BicubicDownsampling, ImageTextMatch, PromptTuning, TReg, measure, restore
from treg_exp.numerics.adamw import AdamW
from treg_exp.operators.linear.source_sum import SourceSum
from treg_exp.solvers.latent_dps import LatentDPS


def readme_example() -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (example,) = [b for b in blocks if "restore(" in b]
    return example


def test_the_example_of_the_readme_runs(tmp_path: Path) -> None:
    Image.open(next((ROOT / "src/treg_exp/assets/emoji_test/images").glob("*.png"))).save(tmp_path / "apple.png")
    example = readme_example()
    assert len([line for line in example.splitlines() if line and not line.startswith(("from", "import", "#"))]) <= 5
    subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True, timeout=300)
    assert Image.open(tmp_path / "restored.png").size == (64, 64)


def test_every_public_name_is_there() -> None:
    assert all(hasattr(api, name) for name in api.__all__)


def test_batches_and_prompts(tiny_prior) -> None:
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    problem = measure(BicubicDownsampling(factor=8, signal_shape=(3, 64, 64)), x, sigma=0.02)
    assert problem.sigma == 0.02
    assert (problem.y - problem.operator.A(x)).std() == pytest.approx(0.02, rel=0.15)
    solver = TReg(steps=3)
    both = restore(problem, tiny_prior, ["a cat", "a dog"], solver)
    same = restore(problem, tiny_prior, "a cat", solver)
    assert both.shape == x.shape
    torch.testing.assert_close(both[0], same[0], rtol=0, atol=1e-4)
    assert (both[1] - same[1]).abs().max() > 1e-4
    with pytest.raises(ValueError, match="prompt=3: one text, or one for each of the 2"):
        restore(problem, tiny_prior, ["a", "b", "c"], solver)


def test_p2l_without_its_prompt_is_a_warning_and_with_it_another_result(tiny_prior) -> None:
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    problem = measure(BicubicDownsampling(factor=8, signal_shape=(3, 64, 64)), x, sigma=0.02)
    solver = LatentDPS(steps=3, project_every=2)
    with pytest.warns(UserWarning, match="^project_every=2 is P2L's projection, but no rule tunes the prompt"):
        plain = restore(problem, tiny_prior, "a cat", solver)
    tuned = restore(problem, tiny_prior, "a cat", solver, prompt_rule=PromptTuning(AdamW(lr=0.1, iterations=1)))
    assert (tuned - plain).abs().max() > 1e-3


def test_the_text_match_and_the_weight_of_text_reach_the_solver(tiny_prior) -> None:
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    problem = measure(BicubicDownsampling(factor=8, signal_shape=(3, 64, 64)), x, sigma=0.02)
    solver, match = TReg(steps=3), ImageTextMatch(strength=0.5, start=0.0, stop=1.0)
    plain = restore(problem, tiny_prior, "a cat", solver)
    assert (restore(problem, tiny_prior, "a cat", solver, text_match=match) - plain).abs().max() > 1e-3
    nothing = restore(problem, tiny_prior, "a cat", solver, guidance=0.0)
    assert torch.equal(restore(problem, tiny_prior, "a cat", solver, text_match=match, text_weight=0.0), nothing)


def test_several_sources_are_signals_of_the_prior(tiny_prior) -> None:
    x = torch.rand(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.5
    problem = measure(SourceSum(sources=2, signal_shape=(3, 64, 64)), x)
    restored = restore(problem, tiny_prior, "a cat", TReg(steps=2))
    assert restored.shape == x.shape
    assert (problem.operator.A(restored) - problem.y).abs().max() < 1e-4
