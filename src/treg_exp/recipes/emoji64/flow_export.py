"""Write a fine-tuned rectified flow as a folder in diffusers layout, with the other parts of its prior."""

from __future__ import annotations

from pathlib import Path

import torch

from treg_exp.files import write_json
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.export import half, replacing, to_export, write_towers
from treg_exp.recipes.emoji64.networks import build_denoiser
from treg_exp.recipes.emoji64.trained import TrainedStages

STAGE = "flow"


def export_flow(corpus: Corpus, stages: TrainedStages, target: Path | None) -> Path:
    """Export the averaged weights in half precision, with a scheduler that says flow and its shift.

    Args:
        corpus: pictures and split: the latents' scale is measured on them.
        stages: where it was trained, in the folder ``flow``; autoencoder and encoders are theirs, or those of the prior
            that they start from.
        target: folder to replace.

    Returns:
        The folder, which ``prior=diffusers_dir prior.path=...`` loads.

    Raises:
        FieldError: no folder to write to, or nothing that was trained.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    folder, target = to_export(stages, STAGE, "a flow", target)
    settings = folder.settings()["objective"]
    towers, autoencoder = stages.towers(), stages.autoencoder()
    network = build_denoiser(settings["widths"], towers.text_encoder.config.hidden_size)
    network.load_state_dict(folder.averaged())
    with replacing(target) as partial, torch.no_grad():
        half(network).save_pretrained(partial / "unet", safe_serialization=True)
        vae = half(autoencoder)
        vae.register_to_config(scaling_factor=stages.scaling_factor(corpus))
        vae.save_pretrained(partial / "vae", safe_serialization=True)
        write_towers(towers, partial)
        stages.tokenizer().save_pretrained(partial / "tokenizer")
        FlowMatchEulerDiscreteScheduler(shift=settings["shift"]).save_pretrained(partial / "scheduler")
        parts = {
            "vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "UNet2DConditionModel"],
            "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
            "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        }  # fmt: skip
        # No pipeline of diffusers draws samples from a U-Net that is a flow: the base class says so.
        write_json(partial / "model_index.json", {"_class_name": "DiffusionPipeline", **parts})
    return target
