"""The denoiser of pictures themselves: its recipe in miniature, its export, and what loads it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.recipes.emoji64.conftest import Miniature
from treg_exp.data.pictures import read_rgb
from treg_exp.errors import ConfigError, FieldError
from treg_exp.files import read_json, write_json
from treg_exp.metrics.networks.judge import load_judge
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.recipes.emoji64.pixel_card import told_trainings, write_pixel_card
from treg_exp.recipes.emoji64.pixel_export import export_pixel
from treg_exp.shipped import ASSETS, file_hash
from treg_exp.solvers.ddrm import DDRM
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.policy import TextPolicy
from treg_exp.training.folder import TrainingFolder

NARROW = {"objective.widths": [16, 32, 32], "objective.versions": 2, "objective.embed_beforehand": False}
SHIPPED = ASSETS / "emoji64_pixel"
CARD = ("README.md", "figures.json", "samples.png")  # beside what is loaded


@pytest.fixture(scope="module")
def pixel(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    """The stage, trained for 60 steps on top of the shipped text encoder."""
    miniature = Miniature(data_dir, tmp_path_factory.mktemp("pixel"), "emoji64")
    steps = {"budget.steps": 60, "budget.pictures": None, "data.batch_size": 16, "trainer.val_check_interval": 60}
    miniature.train("pixel", **NARROW, **steps)
    return miniature


def test_it_learns(pixel: Miniature) -> None:
    """The loss on held-out pictures, with the same noise, falls below two thirds of what it was."""
    first, trained = (pixel.objective("pixel", trained, **NARROW).figures()["val_loss"] for trained in (False, True))
    assert trained < 0.67 * first


def test_what_it_draws_are_the_pictures(pixel: Miniature) -> None:
    objective = pixel.objective("pixel", **NARROW)
    indices = torch.tensor([0, 5])
    drawn = objective.latents.sample(torch.zeros(2, dtype=torch.long), indices, torch.Generator())
    pictures = F.pixel_shuffle(drawn, 2)  # the network sees patches of 2 x 2 pixels
    torch.testing.assert_close(pictures, pixel.corpus.as_float(indices), rtol=0, atol=1e-3)  # kept in half precision
    assert objective.latents.mean.shape == (2, len(pixel.corpus.pictures), 12, 32, 32)


def test_its_export_is_a_prior_of_signals_with_text(pixel: Miniature, tmp_path: Path) -> None:
    folder = export_pixel(pixel.stages, tmp_path / "prior")
    assert not (folder / "vae").exists()
    spec = DiffusersFolder(path=str(folder), precision="fp32")
    spec.check()
    info = spec.info
    assert (info.signal_shape, info.factor, info.latent_channels, info.kind) == ((3, 64, 64), 1, 3, "v_prediction")
    prior, operator = spec.load(), AveragePooling(4, (3, 64, 64))
    x = pixel.corpus.as_float(torch.tensor([0, 1]))
    problem = InverseProblem(operator.A(x), operator, 0.0, 0.0)
    DDRM().check(problem, info)
    policy, found = TextPolicy(ConstantGuidance(3.0)), []
    for prompts in (["red apple", "banana"], ["octopus", "octopus"]):
        text = policy.start(prior, [{"prompt": prompt} for prompt in prompts])
        noise = KeyedNoise([StreamKey(0, i) for i in ("a", "b")])
        found.append(DDRM(5).solve(problem, text, prior, policy, noise).signal)
        assert operator.residual(problem.y, found[-1]).abs().max() < 1e-5
    assert (found[0] - found[1]).abs().max() > 1e-3  # it is told the text


def test_the_shipped_one() -> None:
    """It is what the recipe builds, and small; the text encoder is that of the latent prior."""
    from safetensors import safe_open

    from treg_exp.recipes.emoji64.networks import build_pixel_denoiser

    count = sum(parameter.numel() for parameter in build_pixel_denoiser().parameters())
    assert count == 3_094_172
    assert 2 * count + 1.75e6 < 8e6
    with safe_open(SHIPPED / "unet/diffusion_pytorch_model.safetensors", "pt") as stored:
        assert sum(stored.get_tensor(name).numel() for name in stored.keys()) == count  # noqa: SIM118
    needed = [file for file in SHIPPED.rglob("*") if file.is_file() and file.name not in CARD]
    assert sum(file.stat().st_size for file in needed) < 8e6
    same = Path("text_encoder/model.safetensors")
    assert file_hash(SHIPPED / same) == file_hash(ASSETS / "emoji64" / same)


@pytest.mark.slow
def test_its_card(pixel: Miniature, tmp_path: Path) -> None:
    folder = export_pixel(pixel.stages, tmp_path / "prior")
    write_pixel_card(
        pixel.corpus, load_judge(ASSETS / "judge"), pixel.stages.folder("pixel"), 3_100_000, folder, samples=8
    )
    found = read_json(folder / "figures.json")
    assert found["all"]["judge_top5"]["n"] == 8
    assert found["all"]["nearest"]["mean"] > 0.02  # nothing is copied to the pixel
    assert found["all"]["grain"]["mean"] > 3 * found["all"]["real_grain"]["mean"]  # after 60 steps
    card = (folder / "README.md").read_text()
    assert "**960 pictures** in 60 steps of 16" in card
    assert f"| 960 | {found['trainings'][-1]['losses'][-1][1]:.4f} |" in card
    assert read_rgb(folder / "samples.png").size == (6 * 128, 4 * 128)


def test_a_card_tells_what_came_before(pixel: Miniature, tmp_path: Path) -> None:
    """A training that began with the weights of a prior goes on with what its card tells."""
    folder, own = tmp_path / "prior", told_trainings(pixel.stages.folder("pixel"))
    assert [part["pictures"] for part in own] == [960]
    (folder / "unet").mkdir(parents=True)
    write_json(folder / "figures.json", {"trainings": own})
    again = TrainingFolder(tmp_path / "again")
    shutil.copytree(pixel.stages.folder("pixel").path, again.path)
    settings = again.settings()
    settings["objective"]["weights"] = str(folder / "unet" / "diffusion_pytorch_model.safetensors")
    again.keep(settings)
    assert told_trainings(again) == own + own


def test_wrong_values_are_named(fresh: Callable[..., Miniature], tmp_path: Path) -> None:
    miniature = fresh(start_from="emoji64")
    wrong = (("side", 48), ("patch", 3), ("widths", [20, 32, 32]), ("prediction", "flow"))
    for name, value in wrong:
        with pytest.raises((ConfigError, FieldError), match=name):
            miniature.objective("pixel", **{**NARROW, f"objective.{name}": value})
    with pytest.raises(FieldError, match=r"export_dir=null: say where"):
        export_pixel(miniature.stages, None)
    with pytest.raises(FieldError, match=r"does not exist: train the stage pixel first"):
        export_pixel(miniature.stages, tmp_path / "prior")


def test_patches_come_back_to_their_places(pixel: Miniature, tmp_path: Path) -> None:
    """At a low noise the estimate is the picture, also after 60 steps; patches in another order would not be it."""
    prior = DiffusersFolder(path=str(export_pixel(pixel.stages, tmp_path / "prior")), precision="fp32").load()
    x = pixel.corpus.as_float(torch.tensor([0]))
    level = prior.info.schedule.level(30)
    found = prior.denoiser.predict(level.alpha * x, level, prior.text.embed(["red apple"])).z_0
    moved = F.pixel_shuffle(F.pixel_unshuffle(x, 2).flip(1), 2)
    assert (found - x).square().mean() < 0.25 * (moved - x).square().mean()
