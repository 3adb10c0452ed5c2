"""The released settings: every constant as the specification has it, and runs of them on every kind of backbone."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.conftest import DATA, ROOT
from tests.e2e.test_run import run
from tests.priors.backbones import write_backbone
from tests.priors.headers import write_header, write_headers
from tests.test_config import composed
from tests.tiny import LinearFeatures, with_image_text
from treg_exp.experiment import Experiment
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.methods import CG, Descent
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.image_text.open_clip import shapes_of_model
from treg_exp.priors.named import prior_path
from treg_exp.solvers.treg import DataSteps, TReg
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.policy import TextPolicy

NAMES = sorted(file.stem for file in (ROOT / "conf/experiment/released").glob("treg_*.yaml"))
RELEASED = TReg(
    steps=200,
    data_steps=DataSteps(every=3, stop_index=170),
    lam=1e-4,
    prox=CG(iterations=5, tolerance=1e-4),
    encoder="sample",
    blend="alpha_bar_prev",
    renoise="stochastic",
    off_window="ddim",
    final_projection=False,
    final_residual=None,
    alpha_shift=1,
)
NULL_TEXT = "out of focus, depth of field"


@pytest.mark.parametrize("name", NAMES)
def test_constants(name: str) -> None:
    made = Experiment.from_config(composed(f"experiment=released/{name}", "data.limit=1"))
    linear = name not in ("treg_phase_retrieval", "treg_gamma_correction")
    assert made.solver == (RELEASED if linear else replace(RELEASED, prox=Descent()))
    (variant,) = made.variants.values()
    assert variant.policy.guidance == ConstantGuidance(5.0)
    lr = 5e-4 if name == "treg_gaussian_deblur" else 1e-3
    assert variant.policy.null_text == AdaptiveNegation(NULL_TEXT, lr, 10, "adam")
    assert made.task.name == name


@pytest.mark.parametrize(
    ("kind", "width", "columns"),
    [("sd15", 24, slice(24)), ("sd21", 32, slice(32)), ("sdxl", 16, slice(16)), ("sdxl", 24, slice(16, 40))],
)
def test_the_released_null_text_on_every_backbone(kind: str, width: int, columns: slice, tmp_path: Path) -> None:
    """It moves the result, and of the text only the tokens of the encoder that is as wide as the image features."""
    made = Experiment.from_config(composed("experiment=released/treg_sr_x16", "data.limit=1"))
    prior = DiffusersFolder(path=str(write_backbone(kind, tmp_path)), precision="fp32").load()
    matrix = np.random.default_rng(0).standard_normal((3 * 8 * 8, width)).astype(np.float32)
    prior = with_image_text(prior, LinearFeatures(matrix))
    negation = made.variants["own"].policy
    problem = made.task.measure(made.source[0].target[None], ["s"])

    def restored(policy: TextPolicy) -> tuple[Tensor, Sequence[TextEmbedding]]:
        """The image, and what the denoiser was told at every step: null text and prompt."""
        told: list[TextEmbedding] = []
        predict = prior.denoiser.predict
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                prior.denoiser, "predict", lambda z_t, level, text: (told.append(text), predict(z_t, level, text))[1]
            )
            text = policy.start(prior, [{"prompt": "a red apple"}])
            solver, noise = replace(made.solver, steps=12), KeyedNoise([StreamKey(0, "s")])
            return solver.solve(problem, text, prior, policy, noise).signal, told

    image, told = restored(negation)
    fixed, _ = restored(replace(negation, null_text=FixedNullText(NULL_TEXT)))
    assert (image - fixed).abs().max() > 1e-3
    moved = torch.stack([text.tokens for text in told]) - told[0].tokens  # (12, 2, L, D); data steps are 0, 3, 6 and 9
    of_encoder = moved[:, 0, :, columns].clone()
    torch.testing.assert_close(of_encoder[1].abs(), torch.full_like(of_encoder[1], 10 * 1e-3), rtol=1e-3, atol=0)
    assert of_encoder[-1].abs().mean() > 2 * 10 * 1e-3, "further with every data step"
    moved[:, 0, :, columns] = 0
    assert moved.abs().max() == 0
    if kind == "sdxl":
        assert all(torch.equal(text.pooled, told[0].pooled) for text in told)


@pytest.mark.slow
@pytest.mark.parametrize("off_window", ["ddim", "dps"])
@pytest.mark.parametrize("name", NAMES)
def test_run_at_the_size_of_stable_diffusion(name: str, off_window: str, tmp_path: Path) -> None:
    """With a small random model in its layout, and the image tower of another one, whose features are as wide."""
    prior = shutil.copytree(DATA / "parity" / "tiny_model", tmp_path / "prior")
    shutil.copytree(prior_path("tiny_random") / "image_encoder", prior / "image_encoder")
    run(
        f"experiment=released/{name}", f"prior.path={prior}", "data.image_size=512", "data.limit=1",
        "solver.steps=4", f"solver.off_window={off_window}", "metrics=residual", "logger=csv",
        f"run_dir={tmp_path}/run",
    )  # fmt: skip
    done = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (done["state"], done["finished"], done["failed"]) == ("finished", 1, 0)


def _commands_of_the_documentation() -> list[str]:
    text = (ROOT / "docs" / "stable_diffusion.md").read_text()
    section = text.partition("## From a GPU machine to the paper's figure")[2].partition("\n## ")[0]
    return re.findall(r"^    python run\.py (.*)$", section, re.MULTILINE)


@pytest.mark.parametrize("command", _commands_of_the_documentation())
def test_the_documented_commands_are_the_figure_as_released(command: str, tmp_path: Path, monkeypatch) -> None:
    """Word by word, in a folder with configuration files as wide as the real ones (weights are headers alone)."""
    monkeypatch.chdir(tmp_path)
    folder = write_backbone("sd15", tmp_path / "models" / "sd15")
    for part, changed in (
        ("text_encoder", {"hidden_size": 768}), ("unet", {"cross_attention_dim": 768, "sample_size": 64})
    ):  # fmt: skip
        config = folder / part / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **changed}))
        write_headers(folder, part)
    for place in ("models/clip", "photos"):
        (tmp_path / place).mkdir()
    write_header(tmp_path / "models" / "clip" / "open_clip_model.safetensors", shapes_of_model("ViT-L-14-quickgelu"))
    Image.new("RGB", (640, 512)).save(tmp_path / "photos" / "a.png")

    made = Experiment.from_config(composed(*shlex.split(command)))
    assert (made.solver, made.signal_shape, made.task.operator.keywords) == (RELEASED, (3, 512, 512), {"factor": 16})
    assert made.config["prior"]["open_clip"]["antialias"] is False
    assert [item.variant for item in made.items] == ["no_text", "fixed_text", "negation"]
    policies = {
        item.variant: (made.variants[item.variant].policy.guidance.scale, made.variants[item.variant].policy.null_text)
        for item in made.items
    }
    assert policies == {
        "no_text": (0.0, FixedNullText(NULL_TEXT)),
        "fixed_text": (5.0, FixedNullText(NULL_TEXT)),
        "negation": (5.0, AdaptiveNegation(NULL_TEXT, 1e-3, 10)),
    }
    assert "judge_alignment" not in made.metrics, "its encoder knows emoji only"
