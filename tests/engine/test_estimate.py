"""A dry run tells what the run will take, also where its batches do not fit into memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tests.engine.test_app import BASE
from tests.test_config import composed
from treg_exp.engine.estimate import Estimate, estimate
from treg_exp.experiment import Experiment
from treg_exp.priors.denoisers.unet import UNetDenoiser


class Machine:
    """A clock of one second per evaluation of the network, and memory for so many samples with two each.

    Attributes:
        seconds: the time.
        full_at: step of ten at which the memory is needed.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fits: int, full_at: int = 0) -> None:
        self.seconds = 0
        predict = UNetDenoiser.predict

        def predict_within_memory(prior, z_t, level, text):
            self.seconds += len(z_t)
            if len(z_t) > 2 * fits and level.t == 901 - 100 * full_at:  # of ten steps
                raise torch.OutOfMemoryError("CUDA out of memory")
            return predict(prior, z_t, level, text)

        monkeypatch.setattr(UNetDenoiser, "predict", predict_within_memory)
        monkeypatch.setattr("treg_exp.engine.estimate.time", SimpleNamespace(perf_counter=lambda: self.seconds))


def estimated(steps: int) -> Estimate:
    """Of five guided restorations in a batch."""
    more = ["experiment=single", "data.limit=5", "data.batch_size=5", f"solver.steps={steps}"]
    made = Experiment.from_config(composed(*BASE, *more))
    module = made.module(lambda info: None)
    module.on_predict_start()
    return estimate(module, made.probes(), [5])


@pytest.mark.parametrize("full_at", [0, 2])
@pytest.mark.parametrize("fits", [1, 3, 5])
def test_a_batch_that_is_halved_costs_as_much_as_a_whole_one(monkeypatch, fits: int, full_at: int) -> None:
    """Neither the first tries nor the smaller batches that are timed instead show in the estimate."""
    Machine(monkeypatch, fits, full_at)
    assert estimated(steps=10) == Estimate(nfe=100, exact=True, seconds=100)


def test_a_run_that_ends_while_it_is_timed(monkeypatch) -> None:
    Machine(monkeypatch, fits=3)
    cost = estimated(steps=4)
    assert (cost.nfe, cost.exact) == (40, True)
    assert cost.seconds > 0


def test_calls_before_the_first_step_count_once(monkeypatch) -> None:
    """An inversion asks the network once per step upwards, then twice per guided step downwards."""
    Machine(monkeypatch, fits=5)
    more = ["experiment=single", "task=edit", "solver=inversion", "solver.steps=10", "data.limit=2"]
    made = Experiment.from_config(composed(*BASE, *more))
    module = made.module(lambda info: None)
    module.on_predict_start()
    assert estimate(module, made.probes(), [2]) == Estimate(nfe=60, exact=True, seconds=60)
