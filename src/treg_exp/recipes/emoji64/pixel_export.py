"""Write a trained denoiser of pictures as a folder in diffusers layout, with the text encoder of its training."""

from __future__ import annotations

from pathlib import Path

import torch

from treg_exp.files import write_json
from treg_exp.metrics.networks.judge import load_judge
from treg_exp.priors.families.stable_diffusion import PATCH
from treg_exp.priors.small import training_scheduler
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.export import half, replacing, to_export, write_encoder
from treg_exp.recipes.emoji64.networks import build_pixel_denoiser
from treg_exp.recipes.emoji64.pixel_card import write_pixel_card
from treg_exp.recipes.emoji64.trained import TrainedStages
from treg_exp.shipped import ASSETS

STAGE = "pixel"


def export_pixel(stages: TrainedStages, target: Path | None, corpus: Corpus | None = None) -> Path:
    """Export the averaged weights in half precision: unet, text encoder, tokenizer and scheduler, no autoencoder.

    Args:
        stages: where it was trained, in the folder ``pixel``; the text encoder is that of the prior it started from.
        target: folder to replace.
        corpus: pictures and split, to measure its samples and write a card (minutes on a CPU); None for neither.

    Returns:
        The folder, which ``prior=diffusers_dir prior.path=...`` loads.

    Raises:
        FieldError: no folder to write to, or nothing that was trained.
    """
    folder, target = to_export(stages, STAGE, "a prior of pixels", target)
    settings = folder.settings()["objective"]
    encoder = stages.towers().text_encoder
    network = build_pixel_denoiser(settings["widths"], encoder.config.hidden_size, settings["side"], settings["patch"])
    weights = {name: w for name, w in folder.averaged().items() if not name.startswith("alignment.")}
    network.load_state_dict(weights)
    with replacing(target) as partial, torch.no_grad():
        half(network).save_pretrained(partial / "unet", safe_serialization=True)
        write_encoder(encoder, partial / "text_encoder")
        stages.tokenizer().save_pretrained(partial / "tokenizer")
        scheduler = training_scheduler(settings["prediction"])
        scheduler.register_to_config(set_alpha_to_one=True)  # a sampler of pictures ends without noise
        scheduler.save_pretrained(partial / "scheduler")
        parts = {
            "unet": ["diffusers", "UNet2DConditionModel"], "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "DDIMScheduler"],
        }  # fmt: skip
        told = {PATCH: settings["patch"]} if settings["patch"] > 1 else {}
        write_json(partial / "model_index.json", {"_class_name": "DiffusionPipeline", **parts, **told})
        if corpus is not None:
            write_pixel_card(corpus, load_judge(ASSETS / "judge"), folder, network.num_parameters(), partial)
    return target
