"""Every file of a folder, broken in every way that downloads and editors break files: one line that names it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.priors.backbones import write_backbone
from tests.priors.sampling import load
from tests.priors.test_folder import check
from treg_exp.errors import FieldError, FileError
from treg_exp.priors.named import prior_path
from treg_exp.priors.tiny import FILES

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1234\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"
DAMAGE: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "missing": (lambda data: None, "missing"),
    "empty": (lambda data: b"", "is empty; download it again"),
    "truncated": (lambda data: data[: len(data) // 2], "is truncated|is no valid JSON"),
    "pointer": (lambda data: POINTER, "is a Git LFS pointer .* `git lfs pull`"),
    "page": (lambda data: PAGE, "is an HTML page"),
    "mark": (lambda data: b"\xef\xbb\xbf" + data, "byte order mark|is truncated or no safetensors file"),
    "bytes": (lambda data: bytes(range(128, 256)), "is no UTF-8 text|is truncated or no safetensors file"),
    "list": (lambda data: b"[1, 2]", "holds no JSON object|is truncated or no safetensors file"),
}
#: Read by pipelines alone: this kind of prior needs nothing of it.
UNREAD = "model_index.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(prior_path("tiny_random"), tmp_path_factory.mktemp("prior") / "prior")


def refusal(folder: Path, **options: object) -> str:
    with pytest.raises((FieldError, FileError)) as caught:
        check(folder, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    return message


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_file(folder: Path, damage: str) -> None:
    change, told = DAMAGE[damage]
    for name in FILES:
        kept = (folder / name).rename(folder / "kept")
        data = change(kept.read_bytes())
        if data is not None:
            (folder / name).write_bytes(data)
        if name == UNREAD:
            check(folder)
        else:
            message = refusal(folder)
            assert name in message or f"{name.split('/')[0]} " in message, message
            assert re.search(told, message), message
        kept.replace(folder / name)
    check(folder)


def edit(file: Path, key: str, value: Any) -> None:
    """Another value in a JSON file; the class ``object`` takes it out."""
    values = json.loads(file.read_text()) | {key: value}
    file.write_text(json.dumps({k: v for k, v in values.items() if v is not object}))


SCHEDULER = "scheduler/scheduler_config.json"
WRONG: list[tuple[str, str, Any, str]] = [
    (
        "unet/config.json",
        "sample_size",
        None,
        "sample_size is null; it must be a whole number >= 1, or a list",
    ),
    ("unet/config.json", "sample_size", [8, 8, 8], r"sample_size is \[8, 8, 8\]; it must be"),
    ("unet/config.json", "in_channels", object, "has no in_channels"),
    ("unet/config.json", "in_channels", "4", 'in_channels is "4"; it must be a whole number >= 1'),
    ("unet/config.json", "num_class_embeds", 1000, "is told a class, which is not supported"),
    ("unet/config.json", "class_embed_type", "timestep", "is told a class, which is not supported"),
    ("unet/config.json", "norm_eps", None, "norm_eps is null; it must be a finite number"),
    ("unet/config.json", "layers_per_block", 10**12, "layers_per_block is .*, the number of stored tensors"),
    ("unet/config.json", "down_block_types", ["NoBlock"] * 3, "describes no diffusers.UNet2DConditionModel: .*NoBlock"),
    ("unet/config.json", "quantization_config", {"bits": 4}, "has a quantization_config"),
    ("vae/config.json", "latent_channels", object, "has no latent_channels"),
    ("vae/config.json", "scaling_factor", 0, "scaling_factor is 0; it must be a finite number > 0"),
    ("vae/config.json", "block_out_channels", [], "block_out_channels is .*; it must be a list of whole numbers"),
    ("text_encoder/config.json", "hidden_size", None, "hidden_size is null"),
    ("text_encoder/config.json", "vocab_size", 100, r"token_embedding.weight is 514x32 and must be 100x32"),
    ("image_encoder/config.json", "projection_dim", "x", "projection_dim"),
    ("image_encoder/config.json", "architectures", ["ViTModel"], "ViTModel: allowed are CLIPVisionModelWithProjection"),
    ("image_encoder/preprocessor_config.json", "image_mean", object, "has no image_mean"),
    ("image_encoder/preprocessor_config.json", "image_std", [1, 1, 0], r"image_std is \[1, 1, 0\]; .* must be > 0"),
    ("tokenizer/tokenizer_config.json", "model_max_length", object, "model_max_length is null; .* from 3 to 32"),
    ("tokenizer/tokenizer_config.json", "model_max_length", 10**9, "model_max_length is 1000000000; .* from 3 to 32"),
    ("tokenizer/tokenizer_config.json", "model_max_length", "77", 'model_max_length is "77"'),
    ("tokenizer/tokenizer_config.json", "pad_token", 7, "holds no CLIPTokenizer: TypeError"),
    ("tokenizer/tokenizer.json", "model", object, "holds no CLIPTokenizer: "),
    (SCHEDULER, "beta_schedule", "cosine", "describes no schedule: NotImplementedError: cosine"),
    (SCHEDULER, "beta_end", None, "describes no schedule: TypeError"),
    (SCHEDULER, "beta_end", 2.0, "its betas must be in"),
    (SCHEDULER, "num_train_timesteps", 10**9, "num_train_timesteps is 1000000000; .* from 2 to 100000"),
    (SCHEDULER, "timestep_spacing", "even", 'timestep_spacing is "even"; allowed are leading'),
    (SCHEDULER, "steps_offset", 1000, "steps_offset is 1000; .* from 0 to 999"),
]


@pytest.mark.parametrize(("name", "key", "value", "told"), WRONG)
def test_wrong_values(folder: Path, name: str, key: str, value: Any, told: str) -> None:
    kept = shutil.copy(folder / name, folder / "kept")
    edit(folder / name, key, value)
    message = refusal(folder)
    kept.replace(folder / name)
    assert re.search(told, message), message
    assert name.split("/")[0] in message or "is told a class" in message


def test_no_value_ends_in_a_traceback(folder: Path) -> None:
    """Every first-level value of every file, lost and of other types: accepted, or refused in one line."""
    messages = []
    for name in (name for name in FILES if name.endswith(".json") and name != "tokenizer/tokenizer.json"):
        kept = (folder / name).rename(folder / "kept")
        for key in json.loads(kept.read_text()):
            for value in (None, "x"):
                shutil.copy(kept, folder / name)
                edit(folder / name, key, value)
                try:
                    check(folder)
                except (FieldError, FileError) as error:
                    messages.append(str(error))
        kept.replace(folder / name)
    assert len(messages) > 100
    assert [message for message in messages if len(message.splitlines()) != 1] == []


def test_sides_of_two_lengths_are_understood(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "wide")
    edit(copy / "unet" / "config.json", "sample_size", [16, 32])
    assert load(copy).info.signal_shape == (3, 64, 128)


def test_a_tokenizer_in_two_files(folder: Path, tmp_path: Path) -> None:
    """As CLIP's own: where its merges were cut, every text would fall into letters."""
    tokenizer = shutil.copytree(prior_path("emoji64"), tmp_path / "emoji") / "tokenizer"
    model = json.loads((tokenizer / "tokenizer.json").read_text())["model"]
    (tokenizer / "tokenizer.json").unlink()
    (tokenizer / "vocab.json").write_text(json.dumps(model["vocab"]))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"])]
    (tokenizer / "merges.txt").write_text("\n".join(lines) + "\n")
    check(tokenizer.parent)
    (tokenizer / "merges.txt").write_text("\n".join(lines[:600]) + "\n")
    assert re.search(r"no merge makes \d+ of \d+ pieces", refusal(tokenizer.parent))
    (tokenizer / "merges.txt").write_bytes(b"")
    assert "merges.txt is empty" in refusal(tokenizer.parent)


def test_a_tokenizer_of_another_model(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "mixed")
    shutil.copytree(prior_path("emoji64") / "tokenizer", copy / "tokenizer", dirs_exist_ok=True)
    assert re.search(r"knows 1754 pieces, and .*text_encoder/config.json has vocab_size=514", refusal(copy))


def test_a_refiner_is_named(tmp_path: Path) -> None:
    folder = write_backbone("sdxl", tmp_path / "refiner")
    shutil.rmtree(folder / "text_encoder")
    edit(folder / "model_index.json", "requires_aesthetics_score", True)
    assert "a refiner of SDXL, which is not supported" in refusal(folder)


@pytest.mark.parametrize("variant", ["bf16", "non_ema"])
def test_other_variants_of_weights(folder: Path, tmp_path: Path, variant: str) -> None:
    """Those in bf16 are read; others are named."""
    copy = shutil.copytree(folder, tmp_path / "prior")
    network = load(copy).denoiser.network.module
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    network.bfloat16().save_pretrained(copy / "unet", variant=variant)
    if variant == "bf16":
        assert torch.equal(load(copy).denoiser.network.module.conv_in.weight, network.conv_in.weight.float())
    else:
        assert "there is only diffusion_pytorch_model.non_ema.safetensors" in refusal(copy)


def test_an_index_of_shards(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "prior")
    network = load(copy).denoiser.network.module
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    network.save_pretrained(copy / "unet", max_shard_size="100KB")
    index = copy / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    good = index.read_text()
    for text, told in (
        ("{}", "has no weight_map"),
        ('{"weight_map": 3, "metadata": {}}', "weight_map must say"),
        ("", "is empty"),
    ):
        index.write_text(text)
        assert re.search(f"{index}.*{told}", refusal(copy))
    index.write_text(good)
    check(copy)
