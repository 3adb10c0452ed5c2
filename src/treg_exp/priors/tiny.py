"""``tiny_random``: an untrained prior with every part of the shipped one, generated on first use.

For tests and debugging: its pictures mean nothing, but every solver, null-text rule and metric runs on it, in a
fraction of the time.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from treg_exp.errors import FieldError
from treg_exp.files import user_cache, write_bytes, write_json
from treg_exp.noise import generator
from treg_exp.priors import small
from treg_exp.priors.small import PREPROCESSOR, byte_pair_tokenizer, training_scheduler

TINY = "tiny_random"
WIDTH = 32  # of token embeddings, image features and cross-attention, which are equally wide as in emoji64
TOKENS = 32  # per prompt, both special ones included
PARTS = {
    "scheduler": ("diffusers", "DDIMScheduler"),
    "vae": ("diffusers", "AutoencoderKL"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "image_encoder": ("transformers", "CLIPVisionModelWithProjection"),
}
FILES = (
    "scheduler/scheduler_config.json",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "image_encoder/config.json",
    "image_encoder/model.safetensors",
    "image_encoder/preprocessor_config.json",
    "model_index.json",
)


def tiny_random() -> Path:
    """The folder of the prior in the user's cache, written first where it is not there yet.

    Every process that finds files missing makes the same ones, and each file is renamed into place: any number of
    processes can do so at once, and one that is killed leaves nothing that the next cannot complete.

    Raises:
        FieldError: no folder can be written.
    """
    tried = []
    for root in _cache_roots():
        folder = root / f"{TINY}-{_revision()}"
        try:
            if any(not (folder / name).is_file() for name in FILES):
                _install(folder)
            return folder
        except OSError as error:
            tried.append(f"{root} ({error.strerror})")
    raise FieldError("path", TINY, f"no folder to write it to; set XDG_CACHE_HOME. Tried {', '.join(tried)}")


def _cache_roots() -> Iterator[Path]:
    """The user's cache folder, and one for temporary files where there is none or it is read-only."""
    if user := user_cache():
        yield user
    yield Path(tempfile.gettempdir()) / f"cache-{os.getuid() if hasattr(os, 'getuid') else 'user'}" / "treg_exp"


def _revision() -> str:
    """Changes with the code that makes the files and with the packages that define their format."""
    packages = [version(name) for name in ("diffusers", "transformers", "tokenizers")]
    code = b"".join(Path(file).read_bytes() for file in (__file__, small.__file__))
    return hashlib.sha256(code + "\n".join(packages).encode()).hexdigest()[:12]


def _install(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{TINY}-") as temporary:
        write_tiny_random(Path(temporary))
        for name in FILES:
            if not (folder / name).is_file():  # never replace what another process may be reading
                write_bytes(folder / name, (Path(temporary) / name).read_bytes())


def write_tiny_random(folder: Path, seed: int = 0) -> None:
    """Write the prior in diffusers layout.

    Args:
        folder: where to write.
        seed: of the weights.
    """
    tokenizer = byte_pair_tokenizer([], TOKENS)
    tokenizer.save_pretrained(folder / "tokenizer")
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn from the global stream, and thrown away
        networks = _networks(tokenizer)
    for name, network in networks.items():
        _randomise(network, (seed, name))
        network.save_pretrained(folder / name)
    training_scheduler().save_pretrained(folder / "scheduler")
    write_json(folder / "image_encoder" / "preprocessor_config.json", PREPROCESSOR)
    nothing = {"feature_extractor": [None, None], "safety_checker": [None, None], "requires_safety_checker": False}
    write_json(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline", **nothing, **PARTS})


@torch.no_grad()
def _randomise(network: torch.nn.Module, key: tuple[object, ...]) -> None:
    """Weights that keep the size of signals, from one stream per parameter."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter.ndim == 1 and name.endswith("weight"):
            parameter.fill_(1.0)  # of a normalisation
        else:
            deviation = 1.0 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
            parameter.copy_(deviation * torch.randn(parameter.shape, generator=generator(*key, name)))
        if name == "quant_conv.bias":
            parameter[len(parameter) // 2 :] = -6.0  # log variance: a posterior as narrow as a trained one


def _networks(tokenizer: Any) -> dict[str, Any]:
    """The four networks: the same levels, factors and kinds of attention as emoji64, and few channels."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    tower = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), max_position_embeddings=TOKENS, projection_dim=WIDTH, hidden_act="quick_gelu",
        pad_token_id=tokenizer.eos_token_id, **special, **tower,
    )  # fmt: skip
    image = CLIPVisionConfig(image_size=64, patch_size=16, projection_dim=WIDTH, hidden_act="quick_gelu", **tower)
    return {
        "vae": AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(8, 8, 16), layers_per_block=1, latent_channels=4, norm_num_groups=4,
            mid_block_add_attention=False, sample_size=64, scaling_factor=2.0,
        ),
        "unet": UNet2DConditionModel(
            sample_size=16, in_channels=4, out_channels=4, block_out_channels=(8, 8, 16), layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=WIDTH, attention_head_dim=2, norm_num_groups=4,
            addition_embed_type="text", addition_embed_type_num_heads=4,
        ),
        "text_encoder": CLIPTextModel(text),
        "image_encoder": CLIPVisionModelWithProjection(image),
    }  # fmt: skip
