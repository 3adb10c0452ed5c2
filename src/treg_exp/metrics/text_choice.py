"""Which of several texts a restoration shows, by the judge: the one that was given, or another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.nn.functional import cosine_similarity

from treg_exp.errors import FieldError
from treg_exp.metrics.base import Metric, MetricInput, Values
from treg_exp.metrics.column import MARGIN, MATCH, SCORE, Column
from treg_exp.metrics.networks.judge import caution_of_judge, judge_files, load_judge


class TextChoice(Metric):
    """The judge chooses among the texts of all variants for one image, and never sees which was given.

    Columns: ``judge_of_<variant>`` is the cosine of the restoration and the text of that variant, ``judge_match`` is 1
    where that of the given text is the highest and 0 elsewhere, ``judge_margin`` is by how much it exceeds the best of
    the others. The last two are None for variants without a candidate, such as ``no_text``.

    Args:
        candidates: variant -> role of the text in the data that it was given, at least two.
        folder: of the judge; None for the one that ships.

    Raises:
        FieldError: there is nothing to choose from.
        FileError: there is no judge.
    """

    def __init__(self, candidates: Mapping[str, str], folder: str | Path | None = None) -> None:
        if len(candidates) < 2:
            raise FieldError(
                "candidates", dict(candidates), "needs at least two variants with the roles of their texts"
            )
        self.candidates = dict(candidates)
        self.folder, self.judge = folder, load_judge(folder)
        self.columns = {
            MATCH: Column("judge\nagrees", higher_is_better=True, digits=2),
            MARGIN: Column("judge\nmargin", higher_is_better=True),
            **{f"{SCORE}{name}": Column(f"judge of {name}", in_table="never") for name in self.candidates},
        }

    def weight_files(self) -> Sequence[Path]:
        """See ``Measure``."""
        return judge_files(self.folder)

    def caution(self, prior: str) -> str:
        """See ``Metric``."""
        return caution_of_judge(self.folder, prior)

    def text_scores(self, inp: MetricInput, texts: Sequence[str]) -> list[float | None]:
        """See :class:`~treg_exp.metrics.base.Metric`."""
        judge = self.judge.to(inp.signal.device)
        features = judge.image_features(inp.signal.clamp(-1, 1)).double()
        scores = cosine_similarity(features, judge.text_features(texts).to(features), dim=1).tolist()
        return [score if text else None for score, text in zip(scores, texts, strict=True)]

    def __call__(self, inp: MetricInput) -> Values:
        """See :class:`~treg_exp.metrics.base.Metric`."""
        values: Values = {name: [None] * len(inp.signal) for name in self.columns}
        judge = self.judge.to(inp.signal.device)
        features = judge.image_features(inp.signal).double()
        for i, texts in enumerate(inp.texts):
            told = {name: texts[role] for name, role in self.candidates.items() if texts.get(role)}
            if len(told) < 2:
                continue
            own = judge.text_features(list(told.values())).to(features)
            cosines = cosine_similarity(features[i : i + 1], own, dim=1)
            scores = dict(zip(told, cosines.tolist(), strict=True))  # a signal that is not finite has no row
            for name, score in scores.items():
                values[f"{SCORE}{name}"][i] = score
            if inp.variant in scores:
                margin = scores.pop(inp.variant)
                margin -= max(scores.values())
                values[MARGIN][i], values[MATCH][i] = margin, float(margin > 0)
        return values
