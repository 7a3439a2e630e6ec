"""`train`: a bundle from the CSV files of a training job's channels, one file a machine.

A job that cannot be done says why in `output/failure`, with a reason of a closed set, and leaves no model.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from models.serving.container import ContainerSettings, Folders, now_ms, write_failure
from plantwatch.bundle.container import SUFFIX, save
from plantwatch.bundle.learn import Untrainable, learn
from plantwatch.bundle.model import Bundle
from plantwatch.csvfile import InvalidFile
from plantwatch.settings import InvalidSettings, load
from plantwatch.telemetry import storable
from plantwatch.watch_config import WatchConfig

logger = logging.getLogger(__name__)

# CreateTrainingJob takes at most 100 of 2,500 characters each.
HYPERPARAMETERS_BYTES_MAX: Final = 512 * 1024
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
    """A training job's hyperparameters, all texts. `config` is a JSON object with fields of `WatchConfig`."""

    name: str = "plantwatch"
    machine_type: str = ""
    config: WatchConfig = field(default_factory=WatchConfig)

    def __post_init__(self) -> None:
        Bundle(self.name, self.machine_type)  # ValueError for a name that no bundle may have


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
        bundle = learn(files, name=wanted.name, machine_type=wanted.machine_type, config=wanted.config, now=now_ms())
    except (Untrainable, InvalidFile) as error:
        # Relative, because nobody knows the folders of a container that is gone.
        raise CannotTrain(TrainProblem.UNTRAINABLE, str(error).replace(f"{folders.data}/", "")) from None
    except OSError as error:
        raise CannotTrain(TrainProblem.STORAGE, f"{error.strerror}: {error.filename}") from None
    logger.info(
        "bundle %s: %d signals, expected alerts per machine and day: %s",
        bundle.digest, len(bundle.priors), bundle.expected_alerts_per_day,
    )  # fmt: skip
    path = folders.model / f"{bundle.name}{SUFFIX}"
    try:
        folders.model.mkdir(parents=True, exist_ok=True)
        save(bundle, path)
    except OSError as error:
        raise CannotTrain(TrainProblem.STORAGE, f"{error.strerror}: {path.name}") from None
    return path


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
