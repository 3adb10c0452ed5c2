"""Write the trained prior as a folder in diffusers layout, and the judge beside it, each with its card."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import UNet2DConditionModel

from treg_exp.doctor import ASSETS, write_hashes
from treg_exp.files import write_json, write_text
from treg_exp.signals.image import save_png
from treg_exp.metrics.networks.judge import load_judge
from treg_exp.priors.layout import PREPROCESSOR, training_scheduler
from treg_exp.priors.loading import load_clip
from treg_exp.recipes.emoji64.evaluate import evaluate
from treg_exp.recipes.emoji64.fit import checkpoint_file, load_stage
from treg_exp.recipes.emoji64.judgecard import judge_card
from treg_exp.recipes.emoji64.modelcard import model_card, training_record
from treg_exp.recipes.emoji64.samples import PAIRS, SHEET_PROMPTS, contact_sheet, draw_samples, sheet_of_pairs
from treg_exp.recipes.emoji64.unet import PREDICTION, build_unet

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from treg_exp.recipes.emoji64.recipe import Recipe


def export(recipe: Recipe, target: Path | None = None, figures: bool = True) -> Path:
    """Export the averaged weights of the prior in half precision, and of the judge beside it if it was trained.

    Each folder is written beside its target under another name and moved over it when it is complete.

    Args:
        recipe: whose stages to export.
        target: folder to replace; None for the package's own ``assets/emoji64``.
        figures: measure, draw the sheet of samples and write the model card (minutes on a CPU).

    Returns:
        The folder of the prior; that of the judge is called ``judge`` and lies beside it.
    """
    target = target or ASSETS / "emoji64"
    judge = export_judge(recipe, target.with_name("judge"))
    with _replacing(target) as partial:
        _write_weights(recipe, partial)
        if figures:
            _write_card(recipe, partial, judge)
    return target


def measure(recipe: Recipe, target: Path | None = None) -> None:
    """Measure an exported prior again and write its sheets, figures and card anew; the weights stay.

    Args:
        recipe: its corpus; what its stages took, where they were trained in its folder.
        target: the folder of the prior, with the judge beside it; None for the package's own ``assets/emoji64``.
    """
    target = target or ASSETS / "emoji64"
    judge = target.with_name("judge")
    record_of = dataclasses.replace(recipe, start_from=recipe.start_from or target)
    _write_card(record_of, target, judge if judge.is_dir() else ASSETS / "judge")
    write_hashes(target)
    print(f"measured {target}", flush=True)


def export_judge(recipe: Recipe, target: Path) -> Path:
    """Export the averaged weights of the evaluation model in half precision.

    Args:
        recipe: whose stage to export.
        target: folder to replace.

    Returns:
        The folder; that of the judge in the package if the stage was never trained.
    """
    if not checkpoint_file(recipe.settings("judge").folder).is_file():
        print("the judge was not trained: nothing is exported for it, and the package's measures", flush=True)
        return ASSETS / "judge"
    stage = load_stage(recipe.judge())
    with _replacing(target) as partial:
        stage.average.judge.save(partial)
        write_text(partial / "README.md", judge_card(recipe, stage.figures()))
    return target


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """Load an exported prior in single precision.

    Args:
        folder: what `export` wrote.
    """
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import is_accelerate_available

    return StableDiffusionPipeline.from_pretrained(
        folder,
        safety_checker=None,
        torch_dtype=torch.float32,
        low_cpu_mem_usage=is_accelerate_available(),  # asking for it without accelerate prints a warning
    )


def _write_weights(recipe: Recipe, folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    vae = _half(recipe.trained(recipe.autoencoder()).average)
    vae.register_to_config(scaling_factor=recipe.scaling_factor())
    towers = recipe.trained(recipe.clip()).average
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=_half(towers.text_encoder),
        tokenizer=recipe.tokenizer(),
        unet=_half(_trained_unet(recipe)),
        scheduler=training_scheduler(PREDICTION),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,  # the pipeline would not use it, and warns of towers other than CLIP's
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    _half(towers.image_encoder).save_pretrained(folder / "image_encoder")
    for part in ("text_encoder", "image_encoder"):
        # Half precision is how the weights are stored, not how they are to be used.
        config = json.loads((folder / part / "config.json").read_text())
        write_json(folder / part / "config.json", {**config, "dtype": "float32"})
    write_json(folder / "image_encoder" / "preprocessor_config.json", PREPROCESSOR)


def _trained_unet(recipe: Recipe) -> Any:
    """The averaged denoiser, read without encoding the corpus, which only its training needs."""
    file = checkpoint_file(recipe.settings("unet").folder)
    if recipe.start_from and not file.is_file():
        if conflict := recipe.prediction_conflict():
            raise ValueError(f"{conflict}, and {file} does not exist: train this stage first")
        return UNet2DConditionModel.from_pretrained(recipe.start_from / "unet")
    state = torch.load(file, map_location="cpu", weights_only=True)
    prefix = "average."
    weights = {name[len(prefix) :]: value for name, value in state["state_dict"].items() if name.startswith(prefix)}
    unet = build_unet()
    unet.load_state_dict(weights)
    return unet


def _half(network: Any) -> Any:
    return copy.deepcopy(network).to(memory_format=torch.contiguous_format).half().eval()


def _write_card(recipe: Recipe, folder: Path, judge: Path) -> None:
    pipe = load_pipeline(folder)
    clip = load_clip(folder / "image_encoder", pipe.text_encoder, pipe.tokenizer)
    encoders = {"clip": clip, "judge": load_judge(judge)}
    corpus, measured = recipe.corpus, evaluate(pipe, recipe.corpus, encoders)
    worst, copies = measured.worst(PAIRS), measured.copies(PAIRS)
    sheets = {
        "samples": contact_sheet(draw_samples(pipe, list(SHEET_PROMPTS))),
        "failures": sheet_of_pairs(measured.samples[worst], corpus.as_float(measured.prompted[worst])),
        "nearest": sheet_of_pairs(measured.samples[copies], corpus.as_float(measured.nearest[copies])),
    }
    for name, sheet in sheets.items():
        save_png(sheet, folder / f"{name}.png")
    figures = measured.figures()
    tables = {"all": figures, "categories": measured.by_category(), "training": training_record(recipe)}
    write_json(folder / "figures.json", tables)
    write_text(folder / "README.md", model_card(recipe, measured))
    print("  ".join(f"{name} {figure['mean']:g}" for name, figure in figures.items()), flush=True)


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes the target's place, with its hashes, when that went well."""
    partial, old = (target.with_name(f".{target.name}.{word}") for word in ("partial", "old"))
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    for file in partial.rglob("*.safetensors"):
        file.chmod(0o644)  # some writers make files that only their owner can read
    write_hashes(partial)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    print(f"exported to {target}", flush=True)
