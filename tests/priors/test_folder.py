"""What a folder has to hold, and what is said where it does not: always before any weights are loaded."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.priors.backbones import write_backbone
from tests.priors.folders import write_flux, write_pixel, write_sd3, write_waveform
from tests.priors.sampling import load
from treg_exp.errors import FieldError
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.folder import family_of
from treg_exp.priors.named import prior_path
from treg_exp.schedule.levels import Level

LEVEL = Level(300, 0.7, 0.7)
WRITERS: dict[str, Callable[..., Path]] = {
    "sd15": lambda folder: write_backbone("sd15", folder),
    "sd21": lambda folder: write_backbone("sd21", folder),
    "sdxl": lambda folder: write_backbone("sdxl", folder),
    "sd3": write_sd3,
    "flux": write_flux,
    "pixel": write_pixel,
    "waveform": write_waveform,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: write(tmp_path_factory.mktemp(kind)) for kind, write in WRITERS.items()}


@pytest.fixture
def copy(folders, tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: shutil.copytree(folders[kind], tmp_path / kind)


def check(folder: Path, **options: object) -> None:
    DiffusersFolder(path=str(folder), **options).check()


@pytest.mark.parametrize("kind", WRITERS)
def test_complete_folders_pass(folders, kind: str) -> None:
    check(folders[kind])


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        ("sdxl", "text_encoder_2/model.safetensors"),
        ("sdxl", "tokenizer_2/tokenizer_config.json"),
        ("sd15", "tokenizer/merges.txt"),
        ("sd15", "vae/config.json"),
        ("sd15", "scheduler/scheduler_config.json"),
        ("sd3", "transformer/diffusion_pytorch_model.safetensors"),
        ("sd3", "text_encoder_3/model.safetensors"),
        ("sd3", "text_encoder_2/config.json"),
        ("sd3", "tokenizer_3/tokenizer_config.json"),
        ("flux", "text_encoder_2/model.safetensors"),
        ("flux", "tokenizer_2/tokenizer.json"),
        ("flux", "vae/diffusion_pytorch_model.safetensors"),
        ("pixel", "unet/diffusion_pytorch_model.safetensors"),
        ("pixel", "scheduler/scheduler_config.json"),
        ("waveform", "unet/diffusion_pytorch_model.safetensors"),
        ("waveform", "scheduler/scheduler_config.json"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(copy, kind: str, lost: str) -> None:
    folder = copy(kind)
    if lost == "tokenizer/merges.txt":  # the older form of a tokenizer: two files
        (folder / "tokenizer" / "tokenizer.json").unlink()
        (folder / "tokenizer" / "vocab.json").write_text("{}")
        (folder / lost).touch()
    (folder / lost).unlink()
    named = lost.replace("merges.txt", "tokenizer.json")
    with pytest.raises(FieldError, match=rf"missing {named}\. Download them with `hf download") as error:
        check(folder)
    assert (error.value.field, error.value.value) == ("path", str(folder))
    assert "accept its licence" in str(error.value)


@pytest.mark.parametrize("kind", WRITERS)
def test_pickled_weights_are_not_read(copy, kind: str) -> None:
    folder = copy(kind)
    weights = next(folder.glob("*/diffusion_pytorch_model.safetensors"))
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(FieldError, match=r"not a complete diffusers folder.*\.bin is a pickle and not read"):
        load(folder)


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_an_incomplete_image_encoder_is_refused_where_it_is_used(lost: str, tmp_path: Path) -> None:
    folder = shutil.copytree(prior_path("tiny_random"), tmp_path / "prior")
    (folder / "image_encoder" / lost).unlink()
    for use in (check, load):
        with pytest.raises(FieldError, match=rf"missing image_encoder/{lost}\. .*; image_encoder=false goes without"):
            use(folder)
    prior = load(folder, image_encoder=False)
    assert (prior.info.feature_width, prior.image_text) == (None, None)


def test_an_image_encoder_of_another_purpose_is_left_alone(copy) -> None:
    """That of Stable Diffusion 3 reads image prompts."""
    folder = copy("sd3")
    (folder / "image_encoder").mkdir()
    assert load(folder).image_text is None


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_half_precision_weights_are_enough(copy, kind: str) -> None:
    """Folders of the hub often hold float16 files only."""
    folder = copy(kind)
    whole = load(folder)
    parts = {"unet": whole.denoiser.network.module, "vae": whole.codec.network.module}
    if kind == "sdxl":
        parts["text_encoder"], parts["text_encoder_2"] = whole.text.encoders
    else:
        parts["text_encoder"] = whole.text.encoder
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = whole.predict(z, LEVEL, whole.text.embed(["a cat"])).eps
    for file in folder.glob("*/*.safetensors"):
        file.unlink()
    for part, network in parts.items():
        network.half().save_pretrained(folder / part, variant="fp16")
    half = load(folder)
    assert {p.dtype for p in half.denoiser.network.module.parameters()} == {torch.float32}
    difference = (half.predict(z, LEVEL, half.text.embed(["a cat"])).eps - expected).abs().max()
    assert 0 < difference < 0.01 * expected.abs().max()


def test_an_image_encoder_of_float16_weights(tmp_path: Path) -> None:
    folder = shutil.copytree(prior_path("tiny_random"), tmp_path / "prior")
    expected = load(folder).image_text
    expected.image_encoder.half().save_pretrained(folder / "image_encoder", variant="fp16")
    (folder / "image_encoder" / "model.safetensors").unlink()
    half = load(folder).image_text
    assert {p.dtype for p in half.image_encoder.parameters()} == {torch.float32}
    for a, b in zip(half.image_encoder.parameters(), expected.image_encoder.parameters(), strict=True):
        assert torch.equal(a, b.float())


def test_sharded_weights_load_and_a_lost_shard_is_noticed(copy) -> None:
    folder = copy("sd15")
    network = load(folder).denoiser.network.module
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    network.save_pretrained(folder / "unet", max_shard_size="200KB")
    shards = sorted((folder / "unet").glob("*-of-*.safetensors"))
    assert len(shards) > 1
    again = load(folder).denoiser.network.module
    for a, b in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    shards[0].unlink()
    with pytest.raises(FieldError, match=r"missing unet/diffusion_pytorch_model\.safetensors"):
        check(folder)


def test_float16_files_beside_an_index_without_its_shards(copy) -> None:
    folder = copy("sd15")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    lost = {"weight_map": {"conv_in.weight": "diffusion_pytorch_model-00001-of-00002.safetensors"}}
    file.with_name(f"{file.name}.index.json").write_text(json.dumps(lost))
    check(folder)


def test_the_command_that_is_printed_is_one(tmp_path: Path) -> None:
    """Every pattern has its own flag: after the first one, the tool takes words for names of files."""
    with pytest.raises(FieldError, match="hf download") as error:
        prior_path("owner/model")
    words = shlex.split(re.search(r"`(hf download .*?)`", str(error.value))[1])
    assert words[:3] == ["hf", "download", "owner/model"]
    assert words[3::2] == ["--include", "--include", "--include", "--local-dir"]
    assert words[4::2] == ["*.json", "*.txt", "*/*.safetensors", "model"]


def test_names_of_repositories_and_single_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"hf download stabilityai/stable-diffusion-2-1 .*--local-dir stable"):
        prior_path("stabilityai/stable-diffusion-2-1")
    file = tmp_path / "v1-5-pruned.safetensors"
    file.touch()
    with pytest.raises(FieldError, match=r"if models/none is a repository of the hub, download it with"):
        prior_path("models/none")
    with pytest.raises(FieldError, match="single file; convert it to a folder"):
        prior_path(str(file))
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    with pytest.raises(FieldError, match=f"a model in the hub's cache; give one of its snapshots: {snapshot}$"):
        prior_path(str(tmp_path / "models--a--b"))


def test_a_network_in_the_folder_itself_is_explained(tmp_path: Path) -> None:
    """As in the folders of DDPM on the hub, which have no other part."""
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(
        FieldError, match=r"lies in the folder itself; move config\.json and the weights into unet/ and "
    ):
        family_of(tmp_path, "ddpm")


@pytest.mark.parametrize("path", [None, "", " ", 3])
def test_no_path_at_all(path: object) -> None:
    with pytest.raises(FieldError, match=r"^path=.*: must be a folder, or the name of a shipped prior"):
        DiffusersFolder(path=path).check()


@pytest.mark.parametrize("path", ["models/none", "./none", "../models/none", "{here}/none"])
def test_local_paths_are_not_taken_for_names_of_repositories(path: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    path = path.format(here=tmp_path)
    with pytest.raises(FieldError, match=rf"`hf download OWNER/MODEL .*--local-dir {re.escape(path)}`"):
        prior_path(path)
