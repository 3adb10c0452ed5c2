"""A run that is a trial of a search says how far it has come, and ends where others do better."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback

from treg_exp.engine.journal import JOURNAL, STUDY, open_journal, require_optuna
from treg_exp.engine.objective import Objective
from treg_exp.engine.trial import Trial
from treg_exp.errors import PrunedError
from treg_exp.run_layout import RunLayout, iterate_rows

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import JournalStorage


def trial_callbacks(folder: Path, processes: int) -> list[Callback]:
    """What a run needs to be ended early: nothing, unless it is a trial of a search with a pruner.

    Args:
        folder: its run folder.
        processes: that share the run. Several finish samples in no fixed order, so their means after N samples are
            not comparable; such a run is not ended early.
    """
    try:
        trial = Trial.read(folder)
    except (ValueError, TypeError, KeyError) as error:
        print(
            f"note: {RunLayout(folder).trial} is damaged, the run is not pruned: {error}", file=sys.stderr, flush=True
        )
        return []
    if trial is None or trial.pruner.kind == "none":
        return []
    if processes > 1:
        print("note: a trial in several processes is not pruned", file=sys.stderr, flush=True)
        return []
    return [TrialReport(folder, trial)]


class TrialReport(Callback):
    """Reports the running mean of the objective to the study. Where that cannot be written, the run goes on.

    Args:
        folder: the run folder.
        trial: which trial it is.
    """

    def __init__(self, folder: Path, trial: Trial) -> None:
        self.folder, self.trial = folder, trial
        self.objective = Objective.named(trial.objective)
        self.active = True
        self._sum, self._count, self._reported = 0.0, 0, 0
        self._storage: JournalStorage | None = None

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin with what earlier starts have finished."""
        self._add(iterate_rows(self.folder))
        self._reported = self._count

    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Report, and end the run where it is not worth its time.

        Raises:
            PrunedError: it is not. After the last batch there is nothing to save.
        """
        self._add([result.row for result in outputs if result.signal is not None])
        if not self.active or self._count - self._reported < self.trial.pruner.report_every:
            return
        self._reported, mean = self._count, self._sum / self._count
        try:
            hopeless = self._report(mean)
        except Exception as error:  # whatever is wrong with the study, the results are worth more
            self.active = False
            told = f"{type(error).__name__}: {error}"
            print(f"note: trial {self.trial.number} cannot be reported: {told}", file=sys.stderr, flush=True)
            return
        if hopeless and batch_idx + 1 < trainer.num_predict_batches[dataloader_idx]:
            raise PrunedError(f"after {self._count} samples {self.objective.name} is {mean:.4g}, others do better")

    def _add(self, rows: Iterable[dict[str, Any]]) -> None:
        values = self.objective.values(rows)
        self._sum, self._count = self._sum + sum(values), self._count + len(values)

    def _report(self, mean: float) -> bool:
        """Tell the study; whether the run should end."""
        study = self._study()
        storage = study._storage
        trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, self.trial.number)
        if storage.get_trial(trial_id).state.is_finished():  # the run is continued by somebody else than the search
            self.active = False
            return False
        storage.set_trial_intermediate_value(trial_id, self._count, mean)
        return study.pruner.prune(study, storage.get_trial(trial_id))

    def _study(self) -> Study:
        require_optuna()
        import optuna

        if self._storage is None:
            self._storage = open_journal(self.folder.absolute().parent / JOURNAL)
        return optuna.load_study(study_name=STUDY, storage=self._storage, pruner=self.trial.pruner.make())
