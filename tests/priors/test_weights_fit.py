"""Weights that are not those of their network are refused before they are loaded; those of old versions are read."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from tests.priors.sampling import load
from tests.priors.test_folder import WRITERS, check
from treg_exp.errors import FileError
from treg_exp.priors.named import prior_path
from treg_exp.priors.weights_fit import load_into

Weights = dict[str, Tensor]
KINDS = ("tiny", "sdxl", *(kind for kind in WRITERS if kind not in ("sdxl", "sd15")))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {kind: WRITERS[kind](tmp_path_factory.mktemp(kind)) for kind in KINDS if kind != "tiny"}
    return made | {"tiny": shutil.copytree(prior_path("tiny_random"), tmp_path_factory.mktemp("tiny") / "prior")}


@pytest.fixture
def copy(folders, tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: shutil.copytree(folders[kind], tmp_path / kind)


def rewrite(file: Path, change: Callable[[Weights], Weights]) -> None:
    """Other tensors in a file; the old ones are mapped from it, so it is replaced and not written over."""
    changed = {name: value.clone() for name, value in change(load_file(file)).items()}
    file.unlink()
    save_file(changed, file)


def without_last(weights: Weights) -> Weights:
    return dict(list(weights.items())[:-1])


def with_another(weights: Weights) -> Weights:
    return weights | {"extra.weight": torch.zeros(2)}


def reshaped(weights: Weights) -> Weights:
    name, value = next(iter(weights.items()))
    return weights | {name: torch.cat([value, value])}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_last, r"(1 tensor|2 tensors) missing \([\w., ]+\)$"),
        (with_another, r"1 tensor unknown to the network \(extra\.weight\)$"),
        (reshaped, r"1 tensor of another shape \(\S+ is \S+ and must be \S+\)$"),
    ],
)
def test_every_part_of_every_kind(copy, kind: str, change: Callable[[Weights], Weights], message: str) -> None:
    """A tensor of T5 has two names and is missing under both."""
    folder = copy(kind)
    files = sorted(folder.glob("*/*.safetensors"))
    assert files
    for file in files:
        kept = file.with_suffix(".kept")
        shutil.copy(file, kept)
        rewrite(file, change)
        with pytest.raises(
            FileError, match=rf"{file.parent}: not the weights of the \w+ that its config\.json describes: {message}"
        ):
            check(folder)
        kept.replace(file)
    check(folder)


@pytest.mark.parametrize(
    ("prefixed", "hint"),
    [
        (lambda name: f"_orig_mod.{name}", "Saved as compiled by torch.compile"),
        (lambda name: f"module.{name}", "Saved from a .Distributed.DataParallel"),
        (lambda name: re.sub(r"(to_[qkv])\.", r"\1.base_layer.", name), "An adapter is attached: merge it"),
        (lambda name: f"base_model.model.{name}", "Saved with its adapter"),
        (lambda name: f"model.diffusion_model.{name}", "names of a single-file checkpoint"),
    ],
)
def test_known_prefixes_are_explained(copy, prefixed: Callable[[str], str], hint: str) -> None:
    folder = copy("tiny")
    rewrite(folder / "unet" / "diffusion_pytorch_model.safetensors", lambda w: {prefixed(n): v for n, v in w.items()})
    with pytest.raises(FileError, match=rf"unet: .* (\d+) tensors missing .*, \1 tensors unknown .*\. .*{hint}"):
        check(folder)


def test_an_autoencoder_without_its_encoder(copy) -> None:
    folder = copy("tiny")
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    rewrite(file, lambda w: {n: v for n, v in w.items() if not n.startswith(("encoder.", "quant_conv."))})
    with pytest.raises(FileError, match=r"vae: .* tensors missing .*This autoencoder was saved without its encoder"):
        check(folder)


def test_shards_that_together_lack_a_tensor(copy) -> None:
    folder = copy("tiny")
    network = load(folder).denoiser.network.module
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    network.save_pretrained(folder / "unet", max_shard_size="100KB")
    check(folder)
    rewrite(sorted((folder / "unet").glob("*-of-*.safetensors"))[1], without_last)
    with pytest.raises(FileError, match=r"unet: .*1 tensor missing"):
        check(folder)


def test_an_encoder_of_another_architecture(copy, folders) -> None:
    """Its class is not looked at in this kind of folder, its tensors are."""
    folder = copy("tiny")
    shutil.copy(folders["flux"] / "text_encoder_2" / "model.safetensors", folder / "text_encoder")
    with pytest.raises(FileError, match=r"text_encoder: not the weights of the CLIPTextModel"):
        check(folder)


def test_names_of_old_versions_load_as_before(copy) -> None:
    """Attention of the autoencoder before diffusers 0.15, positions of a text encoder before transformers 4.31."""
    folder = copy("sd21")
    before = load(folder)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def renamed(name: str) -> str:
        for new, was in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{was}.")
        return name

    rewrite(folder / "vae" / "diffusion_pytorch_model.safetensors", lambda w: {renamed(n): v for n, v in w.items()})
    prefix = "text_model."
    rewrite(
        folder / "text_encoder" / "model.safetensors",
        lambda w: (
            {f"{prefix}{n.removeprefix(prefix)}": v for n, v in w.items()}
            | {f"{prefix}embeddings.position_ids": torch.arange(20)[None]}
        ),
    )
    after = load(folder)
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(before.encode(x), after.encode(x))
    assert torch.equal(before.text.embed(["a cat"]).tokens, after.text.embed(["a cat"]).tokens)


def test_a_text_encoder_may_lie_in_the_whole_model(copy) -> None:
    """Its other tower is left out, as by transformers."""
    folder = copy("sd21")
    before = load(folder)
    own, expected = before.text.encoder, before.text.embed(["a cat"]).tokens
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    both = CLIPModel(CLIPConfig(text_config=own.config.to_dict(), vision_config=vision, projection_dim=16))
    both.text_model.load_state_dict(own.state_dict(), strict=False)
    both.save_pretrained(folder / "whole")
    (folder / "whole" / "model.safetensors").replace(folder / "text_encoder" / "model.safetensors")
    assert torch.equal(load(folder).text.embed(["a cat"]).tokens, expected)


def test_weights_of_our_own_networks(tmp_path: Path) -> None:
    linear, file = torch.nn.Linear(2, 3), tmp_path / "linear.safetensors"
    save_file({"weight": torch.ones(3, 2), "bias": torch.ones(2)}, file)
    with pytest.raises(FileError, match=r"linear\.safetensors: not the weights .* of another shape \(bias is 2 and"):
        load_into(linear, file)
    save_file({"weight": torch.ones(3, 2), "bias": torch.ones(3)}, file)
    load_into(linear, file)
    assert linear.bias.tolist() == [1, 1, 1]
