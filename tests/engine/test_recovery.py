"""Overflow and too little memory cost time, not results."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import DATA
from tests.engine.test_app import go, picture
from treg_exp.engine.recovery import MicroBatches, is_out_of_memory
from treg_exp.errors import RunFailedError
from treg_exp.priors.codecs.autoencoder_kl import AutoencoderCodec
from treg_exp.priors.denoisers.unet import UNetDenoiser
from treg_exp.schedule.levels import Prediction

ONE = ["experiment=single", "data.limit=3"]


def _with_first_layer(folder: Path, gain: float) -> str:
    """The tiny model with its first layer scaled; in float32 the normalisation behind it undoes that."""
    shutil.copytree(DATA / "parity" / "tiny_model", folder)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.weight"] *= gain
    save_file(weights, file, metadata={"format": "pt"})
    return f"prior.path={folder}"


def test_what_overflows_in_float16_is_restored_in_float32(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prior = _with_first_layer(tmp_path / "loud", 1e5)
    exact = go(tmp_path / "exact", *ONE, prior, "prior.precision=fp32")
    rows = go(tmp_path / "half", *ONE, prior, "prior.precision=fp16")
    assert rows.keys() == exact.keys()
    assert len(rows) == 3
    shown = capsys.readouterr().err
    for key, row in rows.items():
        assert row["recovered"] == "float32: non-finite at step 0 in half precision"
        assert f"{key[0]}: non-finite at step 0; trying float32" in shown
        assert row["psnr"] == pytest.approx(exact[key]["psnr"], abs=0.05)  # its weights are those of float16
        assert "recovered" not in exact[key]


def test_the_step_that_is_named_is_the_one_that_broke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that overflows in a data step leaves this step's estimate finite; the next step's no longer is."""
    decode, calls = AutoencoderCodec.decode, []

    def overflowing(self, z):
        calls.append(len(z))
        overflows = self.network.half is not None and len(calls) == 3  # data steps are 0, 3, 6, 9
        return torch.full_like(decode(self, z), math.inf) if overflows else decode(self, z)

    monkeypatch.setattr(AutoencoderCodec, "decode", overflowing)
    alone = ["data.limit=1", "trajectory.samples=0"]  # a recorder decodes, too
    rows = go(tmp_path / "r", *ONE, *alone, "prior.precision=bf16", "solver.steps=10", "null_text=off")
    (row,) = rows.values()
    assert row["recovered"] == "float32: non-finite at step 6 in half precision"


def test_what_is_broken_in_float32_too_is_put_aside_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, seen = AutoencoderCodec.decode, []

    def broken(self, z):
        """One sample's latent, recognised by its noise, cannot be decoded."""
        x = decode(self, z)
        if not seen:
            seen.append(z[1, 0, 0, 0].item())
        bad = (z[:, 0, 0, 0] - seen[0]).abs() < 0.05
        return torch.where(bad.view(-1, 1, 1, 1), math.nan, x)

    monkeypatch.setattr(AutoencoderCodec, "decode", broken)
    with pytest.raises(RunFailedError, match="1 of 3 restorations failed"):
        go(tmp_path / "r", *ONE, "prior.precision=bf16", "solver=unconditional", "data.batch_size=3")
    (failure,) = [json.loads(line) for line in (tmp_path / "r" / "failures" / "rank-0.jsonl").open()]
    assert failure["error"] == "non-finite after the last step"
    assert failure["earlier"] == "non-finite after the last step in half precision"
    assert len((tmp_path / "r" / "rows" / "rank-0.jsonl").read_text().splitlines()) == 2


def test_what_fails_in_float32_is_named(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    """There is no second try that would say so, and the run goes on."""
    predict = UNetDenoiser.predict

    def broken(self, z_t, level, text):
        at = predict(self, z_t, level, text)
        return Prediction(at.z_0 * (math.nan if level.t == 251 else 1.0), at.eps)  # of 751, 501, 251, 1

    monkeypatch.setattr(UNetDenoiser, "predict", broken)
    with pytest.raises(RunFailedError, match="2 of 2 restorations failed"):
        go(tmp_path / "r", *ONE, "data.limit=1", "draws=2", "prior.precision=fp32")
    failures = [json.loads(line) for line in (tmp_path / "r" / "failures" / "rank-0.jsonl").open()]
    told = [line for line in capsys.readouterr().err.splitlines() if "failed, " in line]
    assert told == [f"{f['sample_id']}, variant own, draw {f['draw']}: failed, non-finite at step 2" for f in failures]
    assert [f["draw"] for f in failures] == [0, 1]


def test_a_second_try_that_does_not_fit_into_memory_stays_a_failure(tmp_path: Path, monkeypatch) -> None:
    prior = _with_first_layer(tmp_path / "loud", 1e5)
    predict = UNetDenoiser.predict

    def predict_within_memory(self, z_t, level, text):
        if self.network.half is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return predict(self, z_t, level, text)

    monkeypatch.setattr(UNetDenoiser, "predict", predict_within_memory)
    with pytest.raises(RunFailedError, match="3 of 3 restorations failed"):
        go(tmp_path / "r", *ONE, prior, "prior.precision=fp16")
    failures = [json.loads(line) for line in (tmp_path / "r" / "failures" / "rank-0.jsonl").open()]
    assert {f["error"] for f in failures} == {"non-finite at step 0 in half precision, out of memory in float32"}


@pytest.mark.parametrize("fits", [1, 2, 3])
def test_batches_shrink_until_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fits: int
) -> None:
    predict, sizes = UNetDenoiser.predict, []

    def predict_within_memory(self, z_t, level, text):
        sizes.append(len(z_t))
        if len(z_t) > 2 * fits:  # prompt and null text are asked together
            raise torch.OutOfMemoryError("CUDA out of memory")
        return predict(self, z_t, level, text)

    expected = go(tmp_path / "whole", *ONE, "data.limit=5", "data.batch_size=5")
    capsys.readouterr()
    monkeypatch.setattr(UNetDenoiser, "predict", predict_within_memory)
    rows = go(tmp_path / "parts", *ONE, "data.limit=5", "data.batch_size=5")
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        assert row["measurement"] == expected[key]["measurement"]
        assert np.abs(picture(tmp_path / "parts", *key) - picture(tmp_path / "whole", *key)).max() <= 1
        assert row["nfe"] == expected[key]["nfe"]
    warnings = re.findall("out of memory with .*", capsys.readouterr().err)
    assert warnings[0] == "out of memory with 5 at once: going on with 3"
    assert len(warnings) == {3: 1, 2: 2, 1: 3}[fits]
    assert sizes.count(10) == 1, "the size that fits is remembered"


def test_a_single_item_that_does_not_fit_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(items):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        MicroBatches()([1, 2, 3, 4], work)


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    def work(items):
        raise RuntimeError("shapes do not fit")

    batches = MicroBatches()
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        batches([1, 2], work)
    assert batches.size is None


def test_a_failed_allocation_on_the_cpu_is_recognised() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 55, dtype=torch.uint8)
    assert is_out_of_memory(error.value)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("CUDA error: out of memory", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("cuFFT error: CUFFT_ALLOC_FAILED", True),
        ("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`", True),
        ("MPS backend out of memory (MPS allocated: 17.00 GB, max allowed: 18.13 GB). Tried to allocate 2 GB", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("cuFFT error: CUFFT_EXEC_FAILED", False),
        ("The size of tensor a (3) must match", False),
    ],
)
def test_messages_of_libraries_that_have_run_out_of_memory(message: str, expected: bool) -> None:
    assert is_out_of_memory(RuntimeError(message)) is expected
