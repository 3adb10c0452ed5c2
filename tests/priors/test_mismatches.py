"""Folders of kinds that are not supported, and of parts that do not fit together, are refused before any weights."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from diffusers import DDIMScheduler, DDPMScheduler

from tests.priors.backbones import write_backbone
from tests.priors.folders import write_flux, write_pixel, write_sd3, write_waveform
from tests.priors.sampling import load
from treg_exp.errors import FieldError
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.image_text.open_clip import OpenClipFiles

SCHEDULER = "scheduler/scheduler_config.json"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    new = {"sd3": write_sd3, "flux": write_flux, "pixel": write_pixel, "waveform": write_waveform}
    old = {kind: write_backbone(kind, tmp_path_factory.mktemp(kind)) for kind in ("sd15", "sd21")}
    return old | {kind: write(tmp_path_factory.mktemp(kind)) for kind, write in new.items()}


@pytest.mark.parametrize(
    ("kind", "file", "key", "value", "message"),
    [
        ("sd15", "unet/config.json", "in_channels", 9, "takes 9 channels and the autoencoder makes 4"),
        (
            "sd15",
            "unet/config.json",
            "_class_name",
            "UNet3DConditionModel",
            "of a UNet3DConditionModel; supported are ",
        ),
        ("sd15", "vae/config.json", "latents_mean", [0.1, 0, 0, 0], "latents_mean"),
        ("sd15", SCHEDULER, "prediction_type", "score", "prediction_type=score: allowed are epsilon"),
        ("sd15", SCHEDULER, "beta_schedule", None, "no beta_schedule"),
        ("sd3", "transformer/config.json", "_class_name", "PixArtTransformer2DModel", "of a PixArt.*FluxTransformer2D"),
        ("sd3", "transformer/config.json", "in_channels", 33, "takes 33 channels and the autoencoder makes 16"),
        ("sd3", "transformer/config.json", "joint_attention_dim", 32, r"16 \+ 24 .*joint_attention_dim=32"),
        ("sd3", "text_encoder_3/config.json", "d_model", 64, "text_encoder_3 gives 64 .*joint_attention_dim=48"),
        ("sd3", "text_encoder/config.json", "architectures", ["CLIPTextModel"], "only CLIPTextModelWithProjection"),
        ("sd3", "vae/config.json", "_class_name", "AutoencoderTiny", "only AutoencoderKL"),
        ("flux", "transformer/config.json", "in_channels", 384, "takes 96 channels and the autoencoder makes 16"),
        ("flux", "text_encoder/config.json", "hidden_size", 20, "text_encoder gives 20 .*pooled_projection_dim=16"),
        ("flux", "text_encoder_2/config.json", "d_model", 64, "text_encoder_2 gives 64 .*joint_attention_dim=48"),
        ("flux", "text_encoder_2/config.json", "architectures", ["CLIPTextModel"], "only T5EncoderModel"),
        ("pixel", "unet/config.json", "num_class_embeds", 10, "is told a class"),
        ("pixel", "unet/config.json", "class_embed_type", "timestep", "is told a class"),
        ("pixel", "unet/config.json", "out_channels", 6, "takes 3 channels and gives 6; only RGB"),
        ("pixel", "unet/config.json", "sample_size", None, "no sample_size"),
        ("pixel", SCHEDULER, "thresholding", True, "thresholding: is not supported"),
        ("waveform", "unet/config.json", "sample_rate", None, "no sample_rate"),
        ("waveform", "unet/config.json", "out_channels", 2, "takes 1 channels and gives 2"),
    ],
)
def test_what_does_not_fit_is_refused(
    folders, tmp_path: Path, kind: str, file: str, key: str, value: Any, message: str
) -> None:
    folder = shutil.copytree(folders[kind], tmp_path / "other")
    config = json.loads((folder / file).read_text()) | {key: value}
    (folder / file).write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    with pytest.raises(FieldError, match=message):
        DiffusersFolder(path=str(folder)).check()


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_flows_need_a_schedule_of_a_flow(folders, kind: str, tmp_path: Path) -> None:
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    DDIMScheduler().save_pretrained(folder / "scheduler")
    with pytest.raises(FieldError, match=r"scheduler_config.json=DDIMScheduler: is no schedule of a flow"):
        DiffusersFolder(path=str(folder)).check()


def test_parts_of_two_models_are_noticed(folders, tmp_path: Path) -> None:
    folder = shutil.copytree(folders["sd15"], tmp_path / "mixed")
    shutil.rmtree(folder / "unet")
    shutil.copytree(folders["sd21"] / "unet", folder / "unet")
    with pytest.raises(FieldError, match=r"give 24 numbers per token.*cross_attention_dim=32"):
        DiffusersFolder(path=str(folder)).check()


@pytest.mark.parametrize(
    ("kind", "option", "message"),
    [
        ("sd3", {"timestep_spacing": "trailing"}, "timestep_spacing=trailing: this prior has no table"),
        ("flux", {"t5_tokens": 0}, "t5_tokens=0: must be between 1 and 512"),
        ("flux", {"t5_tokens": 513}, "t5_tokens=513: must be between 1 and 512"),
        ("flux", {"t5_tokens": "8"}, "t5_tokens=8: must be between 1 and 512"),
        ("flux", {"embedded_guidance": math.nan}, "embedded_guidance=nan: must be a finite number"),
        ("sd15", {"vae_slicing": "yes"}, "vae_slicing=yes: must be true or false"),
        ("pixel", {"precision": "fp8"}, "precision=fp8: allowed are auto, fp32, bf16, fp16"),
        ("waveform", {"open_clip": OpenClipFiles("ViT-L-14", "none")}, "open_clip=ViT-L-14: sees images"),
        ("waveform", {"gradient_checkpointing": True}, "gradient_checkpointing=true: this kind of network has none"),
    ],
)
def test_options_that_mean_nothing_are_refused(folders, kind: str, option: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match=message):
        DiffusersFolder(path=str(folders[kind]), **option).check()


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        ("sd3", (3, 64, 60), "64x60: does not fit the prior: sides must be multiples of 8"),
        ("sd3", (3, 200, 200), "200x200: does not fit the prior: sides must be at most 192"),
        ("flux", (3, 60, 64), "multiples of 8"),
        ("pixel", (1, 32, 32), "one of image signals of 3 channels and 2 axes"),
        ("waveform", (1, 4100), "4100: .*multiples of 8"),
        ("waveform", (1, 64, 64), "one of audio signals of 1 channels and 1 axes"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(folders, kind: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(FieldError, match=message):
        DiffusersFolder(path=str(folders[kind])).info.latent_shape(shape)


def test_any_sampler_of_the_same_training_is_understood(folders, tmp_path: Path) -> None:
    """Pixel-space folders mostly name DDPM's own sampler."""
    folder = shutil.copytree(folders["pixel"], tmp_path / "pixel")
    DDPMScheduler(clip_sample=False).save_pretrained(folder / "scheduler")
    assert load(folder).info.schedule.timesteps(4) == [750, 500, 250, 0]
