"""Several sources at once are that many separate signals of the same prior."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.priors.folders import write_waveform
from tests.priors.sampling import load
from treg_exp.priors.counting import counted
from treg_exp.priors.prior import Prior
from treg_exp.priors.stacked import for_signals, info_for_signals
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import Level

K = 3


@pytest.fixture(scope="module")
def waveforms(tmp_path_factory: pytest.TempPathFactory) -> Prior:
    return load(write_waveform(tmp_path_factory.mktemp("waveform"), length=256))


@pytest.fixture(scope="module")
def images() -> Prior:
    return load("tiny_random")


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_one_source_is_the_prior_itself(waveforms: Prior) -> None:
    assert for_signals(waveforms, (1, 256)) is waveforms
    assert info_for_signals(waveforms.info, (1, 256)) is waveforms.info


def test_shapes(waveforms: Prior, images: Prior) -> None:
    info = for_signals(waveforms, (K, 1, 256)).info
    assert info.latent_shape((K, 1, 256)) == (K, 1, 256)
    assert len(info.moves(4, (K, 1, 256))) == 4
    assert for_signals(images, (K, 3, 64, 64)).info.latent_shape((K, 3, 64, 64)) == (K, 4, 16, 16)
    with pytest.raises(ValueError, match="multiples of 8"):
        info.latent_shape((K, 1, 255))


def test_predictions_are_those_of_each_source_alone(waveforms: Prior) -> None:
    stacked = for_signals(waveforms, (K, 1, 256))
    z, level = _random(2, K, 1, 256), waveforms.info.schedule.level(300)
    at = stacked.predict(z, level)
    for k in range(K):
        alone = waveforms.predict(z[:, k], level)
        torch.testing.assert_close(at.z_0[:, k], alone.z_0, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(at.eps[:, k], alone.eps, rtol=1e-4, atol=1e-5)


def test_codec_and_text_are_those_of_each_source_alone(images: Prior) -> None:
    """Noise of the posterior goes to its own source, and every source of a sample is told the sample's text."""
    stacked, level = for_signals(images, (K, 3, 64, 64)), images.info.schedule.level(300)
    x, noise = _random(2, K, 3, 64, 64).clamp(-1, 1), _random(2, K, 4, 16, 16, seed=1)
    text = images.text.embed(["red apple", "green pear"])
    for own in (None, noise):
        z = stacked.encode(x, own)
        for k in range(K):
            expected = images.encode(x[:, k], None if own is None else own[:, k])
            torch.testing.assert_close(z[:, k], expected, rtol=1e-4, atol=1e-4)
    images_again, at = stacked.decode(z), stacked.predict(z, level, text)
    for k in range(K):
        torch.testing.assert_close(images_again[:, k], images.decode(z[:, k]), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(at.eps[:, k], images.predict(z[:, k], level, text).eps, rtol=1e-4, atol=1e-4)


def test_every_source_is_counted(waveforms: Prior) -> None:
    prior, calls = counted(waveforms)
    prior = for_signals(prior, (K, 1, 256))
    z = _random(2, K, 1, 256).requires_grad_()
    prior.predict(z, waveforms.info.schedule.level(300)).z_0.sum().backward()
    prior.decode(prior.encode(z.detach()))
    assert (calls.forward, calls.backward, calls.encodes, calls.decodes) == (2 * K,) * 4


def test_every_source_has_the_levels_of_its_sample(waveforms: Prior) -> None:
    stacked, schedule = for_signals(waveforms, (K, 1, 256)), waveforms.info.schedule
    z, levels = _random(2, K, 1, 256), [schedule.level(300), schedule.level(700)]
    varying = Level(
        torch.tensor([300.0, 700.0]),
        torch.tensor([level.alpha for level in levels]).view(2, 1, 1, 1),
        torch.tensor([level.sigma for level in levels]).view(2, 1, 1, 1),
    )
    at = stacked.predict(z, varying)
    for i, level in enumerate(levels):
        alone = stacked.predict(z[i : i + 1], level)
        torch.testing.assert_close(at.z_0[i : i + 1], alone.z_0, rtol=1e-4, atol=1e-4)


def test_a_schedule_that_depends_on_the_size_sees_one_source(images: Prior) -> None:
    info = replace(images.info, schedule=Flow(dynamic=True), kind="flow")
    moves = info_for_signals(info, (K, 3, 64, 64)).moves(4, (K, 3, 64, 64))
    assert moves == info.moves(4, (3, 64, 64))
