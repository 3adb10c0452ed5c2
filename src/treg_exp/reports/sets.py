"""Distances between the pictures of a run and their targets, from the saved files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from treg_exp.errors import FileError
from treg_exp.metrics.provenance import versions_of
from treg_exp.metrics.sets.base import SMALLEST, SetMetric, SetValue
from treg_exp.metrics.sets.features import FeatureExtractor
from treg_exp.run_layout import RECONSTRUCTION, TARGET, Row, RunLayout, picture
from treg_exp.signals.image import ImageMedium

AT_ONCE = 64  # pictures that an extractor sees together; changes no value
NORMAL = 1.96  # standard errors on both sides of a 95 % interval


def add_sets(summary: dict[str, Any], layout: RunLayout, rows: Iterable[Row], metrics: Mapping[str, SetMetric]) -> None:
    """Put `summarise_sets` into a summary: all of it as ``sets``, and each value beside the means of its variant.

    There it has the same form: ``mean`` is the value, ``low`` and ``high`` its interval, ``n`` the number of images.
    """
    if not (found := summarise_sets(layout, rows, metrics)):
        return
    summary["sets"] = found
    for column, about in found.items():
        for variant, value in about["variants"].items():
            shown = {"mean": value["value"], **{name: value[name] for name in ("low", "high", "n")}}
            summary["variants"][variant]["metrics"][column] = shown
        summary.setdefault("notes", []).extend(about["notes"])


def summarise_sets(layout: RunLayout, rows: Iterable[Row], metrics: Mapping[str, SetMetric]) -> dict[str, Any]:
    """All set metrics of a run, per variant.

    With several draws each draw number makes a set of one restoration per image, and the values are averaged: draws of
    one image are more alike than other images are, so they do not belong into one set. Pictures without a target or
    of several sources are left out.

    Args:
        layout: of the run folder.
        rows: of the run.
        metrics: by name.

    Returns:
        Column -> ``metric``, ``made_by`` (versions and weights), ``extractor``, ``width``, ``settings``, ``notes`` and
        ``variants``: variant -> ``value``, ``standard_error`` (None where it is not known), ``low`` and ``high`` of a
        95 % interval, ``n`` images, ``draws``, and what else the metric has to say.

    Raises:
        FileError: a picture cannot be read.
    """
    drawn: dict[str, dict[int, list[str]]] = {}
    for row in rows if metrics else ():
        drawn.setdefault(row["variant"], {}).setdefault(int(row.get("draw", 0)), []).append(row["sample_id"])
    reader = _Reader(layout)
    found: dict[str, Any] = {column: _head(name, m) for name, m in metrics.items() for column in m.columns}
    for extractor in {metric.extractor: None for metric in metrics.values()}:
        of_targets = reader.targets(extractor, {s: None for v in drawn.values() for d in v.values() for s in d})
        for variant, draws in drawn.items():
            values: dict[str, list[SetValue]] = {}
            counts: list[int] = []
            for draw, samples in draws.items():
                known = sorted(sample for sample in set(samples) if sample in of_targets)
                if len(known) < SMALLEST:
                    continue
                restored = reader.restored(extractor, known, variant, draw)
                targets = torch.stack([of_targets[sample] for sample in known])
                counts.append(len(known))
                for metric in metrics.values():
                    if metric.extractor == extractor:
                        values.setdefault(next(iter(metric.columns)), []).append(metric(restored, targets))
            for column, each in values.items():
                found[column]["variants"][variant] = _together(each, min(counts))
    for metric in metrics.values():
        for column in metric.columns:
            fewest = min((v["n"] for v in found[column]["variants"].values()), default=None)
            found[column]["notes"] = [] if fewest is None else [n for n in (metric.note(fewest),) if n]
    return {column: about for column, about in found.items() if about["variants"]}


def _head(name: str, metric: SetMetric) -> dict[str, Any]:
    return {
        "metric": name,
        "made_by": versions_of({name: metric})[name],
        "extractor": metric.extractor.name,
        "width": metric.extractor.width,
        "settings": dict(metric.settings()),
        "variants": {},
    }


def _together(values: Sequence[SetValue], count: int) -> dict[str, Any]:
    """The mean over draws; its error is at most that of one of them, since all are of the same images."""
    value = sum(v.value for v in values) / len(values)
    errors = [v.standard_error for v in values if v.standard_error is not None]
    error = sum(errors) / len(errors) if len(errors) == len(values) else None
    bounds = {"low": None, "high": None} if error is None else {s: value + k * error for s, k in _SIDES.items()}
    names = dict.fromkeys(name for v in values for name in v.more)
    more = {name: sum(v.more.get(name, 0) for v in values) / len(values) for name in names}
    return {"value": value, "standard_error": error, **bounds, "n": count, "draws": len(values), **more}


_SIDES = {"low": -NORMAL, "high": NORMAL}


class _Reader:
    """Features of the pictures in a run folder.

    Args:
        layout: of the folder.
    """

    def __init__(self, layout: RunLayout) -> None:
        self.layout, self.medium = layout, ImageMedium()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def targets(self, extractor: FeatureExtractor, samples: Iterable[str]) -> dict[str, Tensor]:
        """Features by sample, of those that have a target."""
        known = [sample for sample in samples if picture(self.layout.sample(sample), TARGET).is_file()]
        images = (self._load(sample, self.layout.sample(sample) / TARGET) for sample in known)
        return dict(zip(known, self._features(extractor, images), strict=True))

    def restored(self, extractor: FeatureExtractor, samples: Sequence[str], variant: str, draw: int) -> Tensor:
        """(n, F)."""
        folders = ((sample, self.layout.found((sample, variant, draw))) for sample in samples)
        images = (self._load(sample, folder / RECONSTRUCTION) for sample, folder in folders)
        return torch.stack(list(self._features(extractor, images)))

    def _load(self, sample: str, stem: Any) -> Tensor:
        try:
            image = self.medium.load(stem)
        except OSError as error:
            raise FileError(f"{sample}: {stem.name} cannot be read: {error}") from None
        return image.expand(3, -1, -1)  # grey ones

    def _features(self, extractor: FeatureExtractor, images: Iterable[Tensor]) -> Iterator[Tensor]:
        together: list[Tensor] = []
        for image in images:
            if together and (image.shape != together[0].shape or len(together) == AT_ONCE):
                yield from self._of_batch(extractor, together)
                together = []
            together.append(image)
        if together:
            yield from self._of_batch(extractor, together)

    def _of_batch(self, extractor: FeatureExtractor, images: Sequence[Tensor]) -> Iterator[Tensor]:
        yield from extractor.features(torch.stack(list(images)).to(self.device)).cpu()
