"""An open_clip model from a local file: towers, preprocessing, clear errors, and adaptive negation with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import DATA
from tests.priors.folders import write_pixel
from tests.priors.sampling import load
from treg_exp.api import AdaptiveNegation, BicubicDownsampling, TReg, measure, restore
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.image_text.open_clip import OpenClip, OpenClipFiles

TINY = str(DATA / "parity" / "tiny_model")
CONFIG = {
    "embed_dim": 32,  # the width of the tiny prior's text embedding
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> OpenClipFiles:
    folder = tmp_path_factory.mktemp("open_clip")
    (folder / "tiny-quickgelu.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-quickgelu", load_weights=False)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return OpenClipFiles("tiny-quickgelu", str(folder / "open_clip_model.safetensors"))


@pytest.fixture(scope="module")
def clip(files: OpenClipFiles) -> OpenClip:
    return files.load(torch.device("cpu"))


def test_features_are_those_of_open_clip_on_its_own_preprocessing(clip: OpenClip, files: OpenClipFiles) -> None:
    model, _, preprocess = open_clip.create_model_and_transforms(files.model, load_weights=False)
    model.load_state_dict(load_file(files.weights))
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    normalise = preprocess.transforms[-1]
    with torch.no_grad():
        image = model.eval().encode_image(normalise((x + 1) / 2), normalize=True)
        text = model.encode_text(open_clip.get_tokenizer(files.model)(["a cat", ""]), normalize=True)
    torch.testing.assert_close(clip.image_features(x), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(clip.text_features(["a cat", ""]), text, atol=1e-5, rtol=0)


def test_other_sizes_are_resized_and_gradients_pass(clip: OpenClip) -> None:
    x = (torch.rand(1, 3, 48, 64) * 2 - 1).requires_grad_()
    clip.image_features(x)[0, 0].backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_resizing_as_the_released_code_does(clip: OpenClip, files: OpenClipFiles) -> None:
    """Spec: bicubic, corners aligned, no antialiasing."""
    released = replace(files, antialias=False).load(torch.device("cpu"))
    x = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mean, std = released.preprocess.mean, released.preprocess.std
    by_hand = torch.nn.functional.interpolate(x, (32, 32), mode="bicubic", align_corners=True)
    torch.testing.assert_close(released.preprocess(x), (by_hand - mean) / std)
    assert (released.preprocess(x) - clip.preprocess(x)).norm() > 0.1 * clip.preprocess(x).norm()


def test_a_prior_takes_it_and_negation_runs(files: OpenClipFiles) -> None:
    assert DiffusersFolder(path=TINY).info.feature_width is None
    prior = load(TINY, open_clip=files)
    assert prior.info.feature_width == 32
    operator = BicubicDownsampling(factor=8, signal_shape=(3, 64, 64))
    problem = measure(operator, torch.rand(1, 3, 64, 64) * 2 - 1, sigma=0.01)
    images = [
        restore(problem, prior, "a cat", solver=TReg(steps=4), guidance=5.0, null_text=null_text)
        for null_text in ("", AdaptiveNegation(lr=0.1))
    ]
    assert (images[0] - images[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        ("ViT-L-14-quickgel", "any", r"no such model; did you mean ViT-L-14-quickgelu"),
        ("ViT-L-14-quickgelu", "/nowhere/open_clip_model.safetensors", "must be an existing .safetensors file"),
        ("ViT-L-14-quickgelu", __file__, "must be an existing .safetensors file"),
    ],
)
def test_mistakes_are_named(model: str, weights: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OpenClipFiles(model, weights).width()


def test_weights_of_another_model_are_refused(files: OpenClipFiles) -> None:
    with pytest.raises(ValueError, match="not the weights of ViT-S-32"):
        OpenClipFiles("ViT-S-32", files.weights).load(torch.device("cpu"))


HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
OPENAI = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)


@pytest.mark.parametrize(
    ("model", "pretrained", "statistics"),
    [
        ("ViT-L-14-quickgelu", None, OPENAI),
        ("ViT-H-14", None, OPENAI),
        ("ViT-B-16-SigLIP", None, HALF),
        ("ViT-L-14", "openai", OPENAI),
        ("ViT-L-14", "laion2b_s32b_b82k", HALF),
        ("tiny-quickgelu", None, OPENAI),  # no tags: open_clip's default
    ],
)
def test_images_are_normalised_as_the_weights_were_trained(
    files: OpenClipFiles, model: str, pretrained: str | None, statistics: tuple
) -> None:
    assert replace(files, model=model, pretrained=pretrained).statistics() == statistics


def test_an_open_normalisation_is_refused(files: OpenClipFiles) -> None:
    with pytest.raises(
        ValueError, match=r"different normalisations; say with open_clip\.pretrained .*laion2b_s32b_b82k"
    ):
        replace(files, model="ViT-L-14").width()
    with pytest.raises(ValueError, match=r"open_clip\.pretrained=nothing: no tag of ViT-L-14; openai, "):
        replace(files, model="ViT-L-14", pretrained="nothing").width()


def test_a_prior_without_text_takes_it_too(files: OpenClipFiles, tmp_path: Path) -> None:
    prior = load(write_pixel(tmp_path), open_clip=files)
    assert prior.info.feature_width == 32
    assert prior.image_text.image_features(torch.zeros(1, 3, 32, 32)).shape == (1, 32)
