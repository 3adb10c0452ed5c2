"""The methods of signals and of flows, and the axis of texts: every rule has an effect with each, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.solvers.test_rival_texts import RULES
from tests.solvers.test_rivals import posed, solved
from treg_exp.errors import FieldError
from treg_exp.priors.as_flow import FlowOfDiffusion
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.prior import Prior
from treg_exp.shipped import ASSETS
from treg_exp.solvers.base import Solver
from treg_exp.solvers.ddnm import DDNM
from treg_exp.solvers.ddrm import DDRM
from treg_exp.solvers.diffpir import DiffPIR
from treg_exp.solvers.dps import DPS
from treg_exp.solvers.flair import FLAIR
from treg_exp.solvers.flowdps import FlowDPS
from treg_exp.solvers.projdiff import ProjDiff
from treg_exp.solvers.red_diff import REDDiff

SIGNALS: dict[str, Solver] = {
    "dps": DPS(3), "ddrm": DDRM(3), "ddnm": DDNM(3), "diffpir": DiffPIR(3), "red_diff": REDDiff(3),
    "projdiff": ProjDiff(3),
}  # fmt: skip
FLOWS: dict[str, Solver] = {"flowdps": FlowDPS(3), "flair": FLAIR(3)}


@pytest.fixture(scope="module")
def pixel() -> Prior:
    """The shipped prior of pixels, with the image encoder of the one of latents."""
    return DiffusersFolder(path="emoji64_pixel", precision="fp32", image_encoder="emoji64").load()


@pytest.fixture(scope="module")
def flow() -> Prior:
    return FlowOfDiffusion(path="emoji64", precision="fp32").load()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", [*SIGNALS, *FLOWS])
def test_a_rule_of_text_has_an_effect_or_is_refused(name: str, rule: str, pixel: Prior, flow: Prior) -> None:
    solver, prior = (SIGNALS[name], pixel) if name in SIGNALS else (FLOWS[name], flow)
    policy, without = RULES[rule]
    policy.check(prior.info)
    if rule == "prompt_ascent":
        with pytest.raises(FieldError, match="prompt_rule=PromptAscent: follows the latent of the next step"):
            solver.check_policy(policy)
        return
    solver.check_policy(policy)
    first, second = (solved(solver, prior, posed(1), policy=one)[0] for one in (policy, without))
    assert (first - second).abs().max() > 1e-6


def test_the_prior_of_pixels_knows_pictures_as_the_one_of_latents_does(pixel: Prior) -> None:
    latent = DiffusersFolder(path="emoji64", precision="fp32").load()
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert pixel.image_text is not None
    assert latent.image_text is not None
    found, expected = (prior.image_text.image_features(x) for prior in (pixel, latent))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert pixel.info.feature_width == latent.info.feature_width


def test_a_folder_may_be_named_relative_to_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, shipped in (("latents", "emoji64"), ("pixels", "emoji64_pixel")):
        (tmp_path / name).symlink_to(ASSETS / shipped)
    monkeypatch.chdir(tmp_path)
    spec = DiffusersFolder(path="pixels", precision="fp32", image_encoder="latents")
    assert (tmp_path / "latents" / "image_encoder" / "model.safetensors") in [file.absolute() for file in spec.files]
    assert spec.load().image_text is not None


def test_another_image_encoder_is_refused_where_it_does_not_fit() -> None:
    for named, why in (
        (3, "must be true, false, or the name or folder of the prior"),
        ("nowhere", "image_encoder=nowhere: no such folder"),
        ("emoji64_pixel", "has no image_encoder/"),
        ("", "must be true, false, or the name or folder of the prior"),
        ("tiny_random", "goes with another file of text_encoder weights than the one in .*; image_encoder=false goes"),
    ):
        with pytest.raises(FieldError, match=why):
            DiffusersFolder(path="emoji64_pixel", precision="fp32", image_encoder=named).check()
