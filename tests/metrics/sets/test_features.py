"""Extractors: the judge's last maps, and Inception as torchmetrics runs it, from a file that is read safely."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from torch import Tensor

from treg_exp.errors import FieldError, FileError
from treg_exp.metrics.networks.judge import load_judge
from treg_exp.metrics.sets.features import INCEPTION, InceptionFeatures, JudgeFeatures
from treg_exp.metrics.sets.frechet import FID
from treg_exp.metrics.sets.kernel import KID
from treg_exp.noise import generator


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 3, 64, 64, generator=generator("sets")) * 2 - 1


def test_the_judges_features_lead_to_its_embedding(images: Tensor) -> None:
    found, judge = JudgeFeatures(), load_judge()
    features = found.features(images)
    assert features.shape == (3, found.width) == (3, 512)
    embedding = torch.nn.functional.normalize(judge.image_head(features), dim=-1)
    torch.testing.assert_close(embedding, judge.image_features(images))
    torch.testing.assert_close(found.features(images[1:2]), features[1:2], atol=1e-5, rtol=1e-5)
    larger = torch.nn.functional.interpolate(images, scale_factor=2, mode="nearest")
    assert found.features(larger).shape == (3, 512)
    assert found.caution("emoji64") == ""
    assert "emoji only" in FID().caution("stable_diffusion")


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under the names of the real ones, in the format in which those are published."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Random(FeatureExtractorInceptionV3):
        def load_state_dict(self, state: object) -> None:
            pass

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("inception") / "weights-inception-2015-12-05-6726825d.pth"
    torch.save(Random(INCEPTION, ["2048"], empty).state_dict(), file)
    return file


def test_inception_is_that_of_torchmetrics(inception_file: Path, images: Tensor) -> None:
    from torchmetrics.image.fid import NoTrainInceptionV3

    found = InceptionFeatures(str(inception_file))
    features = found.features(images)
    bytes_of = ((images + 1) * 127.5).round().to(torch.uint8)
    expected = NoTrainInceptionV3(INCEPTION, ["2048"], str(inception_file))(bytes_of)
    torch.testing.assert_close(features, expected, atol=0, rtol=1e-4)  # random weights make small features
    assert features.shape == (3, found.width) == (3, 2048)
    old = InceptionFeatures(str(inception_file), antialias=False)
    assert (old.features(images) - features).norm() > 1e-3 * features.norm()
    assert FID(found).columns["fid"].line == "FID inception"
    assert KID(old).extractor.name == "inception, resized as TensorFlow does"
    assert found.caution("stable_diffusion") == ""
    assert found.weight_files() == [inception_file]


def test_files_are_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"^weights=/nowhere\.pth: .* Inception-v3.*6726825d\.pth.*torch-fidelity"):
        InceptionFeatures("/nowhere.pth")
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(FileError, match="not the weights of Inception-v3"):
        InceptionFeatures(str(tmp_path / "other.pth"))
    torch.save({"fc.weight": print}, tmp_path / "code.pth")
    with pytest.raises(FileError, match="cannot be read as tensors"):
        InceptionFeatures(str(tmp_path / "code.pth"))
