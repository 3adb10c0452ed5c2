"""Write the trained prior as a folder in diffusers layout, with its model card."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from treg_exp.doctor import write_hashes
from treg_exp.files import save_png, write_json, write_text
from treg_exp.priors.layout import PREPROCESSOR, training_scheduler
from treg_exp.training.evaluate import SHEET_PROMPTS, contact_sheet, draw_samples, measure
from treg_exp.training.fit import checkpoint_file, load_stage
from treg_exp.training.modelcard import model_card
from treg_exp.training.unet import build_unet

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from treg_exp.training.recipe import Recipe


def export(recipe: Recipe, target: Path | None = None, figures: bool = True) -> Path:
    """Export the averaged weights of all stages in half precision.

    The folder is written beside the target under another name and moved over it when it is complete.

    Args:
        recipe: whose stages to export.
        target: folder to replace; None for the package's own ``assets/emoji64``.
        figures: measure, draw the sheet of samples and write the model card (minutes on a CPU).

    Returns:
        The folder.
    """
    target = target or Path(__file__).parent.parent / "assets" / "emoji64"
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    _write_weights(recipe, partial)
    if figures:
        _write_card(recipe, partial)
    write_hashes(partial)
    _replace_folder(partial, target)
    print(f"exported to {target}", flush=True)
    return target


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """Load an exported prior in single precision.

    Args:
        folder: what `export` wrote.
    """
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, torch_dtype=torch.float32)


def _write_weights(recipe: Recipe, folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    vae = _half(load_stage(recipe.autoencoder()).average)
    vae.register_to_config(scaling_factor=recipe.scaling_factor())
    towers = load_stage(recipe.clip()).average
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=_half(towers.text_encoder),
        tokenizer=recipe.tokenizer(),
        unet=_half(_trained_unet(recipe)),
        scheduler=training_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=_half(towers.image_encoder),
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    for part in ("text_encoder", "image_encoder"):
        # Half precision is how the weights are stored, not how they are to be used.
        config = json.loads((folder / part / "config.json").read_text())
        write_json(folder / part / "config.json", {**config, "dtype": "float32"})
    write_json(folder / "image_encoder" / "preprocessor_config.json", PREPROCESSOR)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)  # some writers make files that only their owner can read


def _trained_unet(recipe: Recipe) -> Any:
    """The averaged denoiser, read without encoding the corpus, which only its training needs."""
    state = torch.load(checkpoint_file(recipe.settings("unet").folder), map_location="cpu", weights_only=True)
    prefix = "average."
    weights = {name[len(prefix) :]: value for name, value in state["state_dict"].items() if name.startswith(prefix)}
    unet = build_unet()
    unet.load_state_dict(weights)
    return unet


def _half(network: Any) -> Any:
    return copy.deepcopy(network).to(memory_format=torch.contiguous_format).half().eval()


def _write_card(recipe: Recipe, folder: Path) -> None:
    pipe = load_pipeline(folder)
    measured = measure(pipe, recipe.corpus).rounded()
    sheet = contact_sheet(draw_samples(pipe, list(SHEET_PROMPTS)))
    save_png(sheet, folder / "samples.png")
    write_json(folder / "figures.json", measured)
    write_text(folder / "README.md", model_card(recipe, measured))
    print("  ".join(f"{name} {value:g}" for name, value in measured.items()), flush=True)


def _replace_folder(source: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(old)
    source.rename(target)
    shutil.rmtree(old, ignore_errors=True)
