"""`train`: a bundle from the CSV files of a training job's channels, one file a machine: `plantwatch train` in a
container, so that the same data gives the same bundle to the last byte. What operators said of earlier alerts comes in
the channel `labels`, as the one file that `plantwatch labels` keeps.

A job that cannot be done says why in `output/failure`, with a reason of a closed set, and leaves no model.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from models.catalogue import AUTO, CATALOGUE
from models.history import InvalidHistory, csv_series
from models.labels import InvalidLabel, Label, in_force, read_labels
from models.serving.container import ContainerSettings, Folders, write_failure
from models.training import Trained, Wish
from models.training import train as train_bundle
from plantwatch.bundle.container import SUFFIX, save
from plantwatch.bundle.model import Bundle
from plantwatch.settings import InvalidSettings, load
from plantwatch.telemetry import storable
from plantwatch.watch_config import WatchConfig

logger = logging.getLogger(__name__)

# CreateTrainingJob takes at most 100 of 2,500 characters each.
HYPERPARAMETERS_BYTES_MAX: Final = 512 * 1024
LABELS_CHANNEL: Final = "labels"
# Libraries of training jobs add their own, which are not ours to judge.
_FOREIGN_PREFIX: Final = "sagemaker_"


class TrainProblem(StrEnum):
    """Why a training job failed: the first word of its failure. Closed."""

    HYPERPARAMETERS = "hyperparameters"
    NO_DATA = "no_data"
    UNTRAINABLE = "untrainable"
    """The data are there, and no bundle can be learnt from them."""
    STORAGE = "storage"
    """The disk refuses to give or to take."""
    INTERNAL = "internal"
    """Ours: the log holds the trace."""


class CannotTrain(Exception):
    def __init__(self, reason: TrainProblem, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True)
class Hyperparameters:
    """A training job's hyperparameters, all texts: the options of `plantwatch train`.

    `config` is a JSON object with fields of `WatchConfig`, in place of the detector that the catalogue would choose.
    """

    name: str = "plantwatch"
    machine_type: str = ""
    tenant: str = "local"
    detector: str = AUTO
    alerts_per_day: float = 0.1
    config: WatchConfig | None = None

    def __post_init__(self) -> None:
        Bundle(self.name, self.machine_type)  # ValueError for a name that no bundle may have
        if self.detector not in {AUTO, *CATALOGUE}:
            raise ValueError(f"detector: there is no {self.detector!r}; there are {AUTO}, {', '.join(CATALOGUE)}")
        if not 0.0 <= self.alerts_per_day < math.inf:
            raise ValueError(f"alerts_per_day: {self.alerts_per_day} is no rate")


def train(container: ContainerSettings) -> int:
    """Exit code: 0 with a bundle in the model's folder, 1 with the reason in the failure file."""
    folders = Folders(container.ml_root)
    try:
        path = _train(folders)
    except CannotTrain as error:
        logger.error("cannot train: %s", error)
        write_failure(folders, str(error))
        return 1
    except Exception as error:
        write_failure(folders, f"{TrainProblem.INTERNAL}: {type(error).__name__}: {error}")
        raise
    logger.info("wrote %s", path)
    return 0


def _train(folders: Folders) -> Path:
    wanted = _hyperparameters(folders.hyperparameters)
    files = sorted(path for path in folders.data.rglob("*.csv") if path.is_file())
    if not files:
        raise CannotTrain(TrainProblem.NO_DATA, f"no CSV file in {folders.data}")
    logger.info("%s from %d files", wanted.name, len(files))
    try:
        trained = _learn(files, wanted, _labels(folders))
    except (InvalidHistory, InvalidLabel) as error:
        # Relative, because nobody knows the folders of a container that is gone.
        raise CannotTrain(TrainProblem.UNTRAINABLE, str(error).replace(f"{folders.data}/", "")) from None
    except OSError as error:
        raise CannotTrain(TrainProblem.STORAGE, f"{error.strerror}: {error.filename}") from None
    for note in trained.choice.notes:
        logger.info("%s", note)
    bundle = trained.bundle
    logger.info(
        "bundle %s: %d signals, alerts per machine and day: %s",
        bundle.digest, len(bundle.priors), bundle.expected_alerts_per_day,
    )  # fmt: skip
    path = folders.model / f"{bundle.name}{SUFFIX}"
    try:
        folders.model.mkdir(parents=True, exist_ok=True)
        save(bundle, path)
    except OSError as error:
        raise CannotTrain(TrainProblem.STORAGE, f"{error.strerror}: {path.name}") from None
    return path


def _learn(files: Sequence[Path], wanted: Hyperparameters, labels: Sequence[Label]) -> Trained:
    wish = Wish(wanted.name, wanted.machine_type, wanted.config, wanted.detector, wanted.alerts_per_day)
    return train_bundle(csv_series(files, tenant=wanted.tenant), wish, labels)


def _labels(folders: Folders) -> tuple[Label, ...]:
    """Those in the channel `labels`; none where there is no such channel."""
    files = sorted(path for path in (folders.data / LABELS_CHANNEL).rglob("*") if path.is_file())
    if len(files) > 1:
        names = ", ".join(path.name for path in files[:3])
        raise CannotTrain(TrainProblem.UNTRAINABLE, f"{len(files)} files of labels ({names}); there may be one")
    return in_force(read_labels(files[0])) if files else ()


def _hyperparameters(path: Path) -> Hyperparameters:
    """None given is no mistake: there are defaults."""
    try:
        with path.open("rb") as file:
            text = file.read(HYPERPARAMETERS_BYTES_MAX)
    except FileNotFoundError:
        return Hyperparameters()
    except OSError as error:
        raise CannotTrain(TrainProblem.STORAGE, f"{error.strerror}: {path.name}") from None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CannotTrain(TrainProblem.HYPERPARAMETERS, f"{path.name} is no JSON: {storable(str(error))}") from None
    if not isinstance(values, dict):
        raise CannotTrain(TrainProblem.HYPERPARAMETERS, f"{path.name} is no object")
    try:
        return load(Hyperparameters, _own(values))
    except InvalidSettings as error:
        raise CannotTrain(TrainProblem.HYPERPARAMETERS, str(error)) from None


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not key.startswith(_FOREIGN_PREFIX)}
