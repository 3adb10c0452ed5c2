"""Closeness to the target as an eye sees it, per image: LPIPS of the clamped images by AlexNet features."""

from __future__ import annotations

from collections.abc import Mapping

from treg_exp.metrics.base import Metric, MetricInput, Values
from treg_exp.metrics.column import Column
from treg_exp.metrics.fidelity import per_sample
from treg_exp.metrics.networks.lpips import SMALLEST, load_lpips


class LPIPS(Metric):
    """See ``networks/lpips.py``; None without a target and for images of fewer than 31 pixels a side."""

    columns: Mapping[str, Column] = {"lpips": Column("LPIPS", higher_is_better=False)}

    def __call__(self, inp: MetricInput) -> Values:
        """See :class:`~treg_exp.metrics.base.Metric`."""
        if inp.target is None or min(inp.signal.shape[-2:]) < SMALLEST:
            return {"lpips": per_sample(None, len(inp.signal))}
        network = load_lpips().to(inp.signal.device)
        return {"lpips": per_sample(network(inp.signal.float().clamp(-1, 1), inp.target.float()), len(inp.signal))}
