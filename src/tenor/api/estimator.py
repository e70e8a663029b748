"""What the estimators of all tasks have in common: what a training leaves behind, and the model folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from tenor import store
from tenor.config import Device, ReadingPrecision, TrainConfig
from tenor.jobs.kinds import card_of, kind_of
from tenor.training.loop import Outcome


class Estimator(BaseEstimator):  # type: ignore[misc]
    """An estimator of one task (of tenor.tasks); what it trained stands in its attribute `_made_in`."""

    _task: ClassVar[str]
    _made_in: ClassVar[str]

    def _took(self, outcome: Outcome, train: TrainConfig, metrics: dict[str, Any], parameters: dict[str, Any] | None = None) -> Self:
        """Keep how the model came to be, for `save`. metrics: the task's own; parameters: get_params() as it can be written."""
        self.history_, self.best_epoch_ = outcome.history, outcome.best_epoch
        record: dict[str, Any] = {"finished": True, "best_epoch": outcome.best_epoch, "data": {"sentences": ["Trained from Python; the data was not recorded."]}}
        self._record = ({"train": asdict(train), "estimator": parameters or self.get_params()}, record | metrics)
        return self

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write a model folder for `load` and for the commands.

        Raises:
            TenorError: it exists already, or cannot be written.
        """
        check_is_fitted(self, self._made_in)
        more, metrics = self._record
        stored = getattr(self, self._made_in).stored(more, metrics, self.history_)
        store.write(Path(folder), stored, {"README.md": card_of(self._task)(Path(folder).name, stored.config, metrics, self.history_)}, overwrite, store.PYTHON)

    @classmethod
    def of(cls, stored: store.Stored, device: Device = "auto", precision: ReadingPrecision = "auto") -> Self:
        """From what a model folder holds; `tenor.load` reads one. Raises TenorError if its parts do not fit each other."""
        model = cls(**(stored.config.get("estimator", {}) | {"device": device, "precision": precision}))
        setattr(model, cls._made_in, cls._rebuilt(stored, device, precision))
        model.history_, model.best_epoch_ = stored.history, stored.metrics.get("best_epoch", 0)
        model._record = ({k: v for k, v in stored.config.items() if k not in ("format", "files")}, stored.metrics)
        return model

    @classmethod
    def _rebuilt(cls, stored: store.Stored, device: Device, precision: ReadingPrecision) -> Any:
        return kind_of(cls._task).rebuilt(stored, device, precision)
