"""What SageMaker gives a container: folders below one root, and environment variables.

    ROOT/model/                        the model's files: to read when serving, to write when training
    ROOT/input/config/*.json           hyperparameters, channels
    ROOT/input/data/CHANNEL/*.csv      a training job's data
    ROOT/output/failure                why a training job failed: its first 1,024 characters reach DescribeTrainingJob

ROOT is /opt/ml on SageMaker; elsewhere PLANTWATCH_ML_ROOT says where it is.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from plantwatch import settings
from plantwatch.bundle.container import SUFFIX, load
from plantwatch.bundle.model import Bundle, InvalidBundle
from plantwatch.telemetry import EpochMs

PREFIX: Final = "PLANTWATCH_"
# InvokeEndpoint takes no more (its service model: Body, max 6291456), and it is batch transform's default.
PAYLOAD_MB: Final = 6
# CreateTransformJob takes no more.
PAYLOAD_MB_MAX: Final = 100
# Scoring holds the interpreter's lock: more threads only let short requests pass long ones, of which each may need a
# quarter of a gigabyte (6 MB of one short number a line).
THREADS: Final = 8
THREADS_MIN: Final = 2
THREADS_MAX: Final = 64
_ROOT: Final = Path("/opt/ml")


class ServeProblem(StrEnum):
    """Why nothing can be served. Closed."""

    NO_MODEL = "no_model"
    SEVERAL_MODELS = "several_models"
    UNREADABLE_MODEL = "unreadable_model"
    INVALID_BUNDLE = "invalid_bundle"


class CannotServe(Exception):
    """The model's folder holds nothing that can be served; in one line."""

    def __init__(self, reason: ServeProblem, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True)
class Folders:
    root: Path = _ROOT

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def hyperparameters(self) -> Path:
        return self.root / "input" / "config" / "hyperparameters.json"

    @property
    def data(self) -> Path:
        return self.root / "input" / "data"

    @property
    def failure(self) -> Path:
        return self.root / "output" / "failure"


@dataclass(frozen=True)
class ContainerSettings:
    """Our own settings, PLANTWATCH_ + the name in capitals. The image sets `host` (outside of it, only this machine
    may ask) and `run_as`, the user and group who answers; 0 changes nothing."""

    ml_root: Path = _ROOT
    host: str = "127.0.0.1"
    threads: int = THREADS
    run_as: int = 0

    def __post_init__(self) -> None:
        if self.run_as < 0:
            raise ValueError(f"run_as is {self.run_as}; it must be a user's number, or 0")
        if not THREADS_MIN <= self.threads <= THREADS_MAX:
            raise ValueError(f"threads is {self.threads}; it must be from {THREADS_MIN} to {THREADS_MAX}")


@dataclass(frozen=True)
class SageMakerSettings:
    """What SageMaker says, SAGEMAKER_ + the name in capitals: which port, and whether this is a batch job."""

    bind_to_port: int = 8080
    batch: bool = False
    max_payload_in_mb: int = PAYLOAD_MB

    def __post_init__(self) -> None:
        if not 0 <= self.max_payload_in_mb <= PAYLOAD_MB_MAX:
            raise ValueError(f"max_payload_in_mb is {self.max_payload_in_mb}; it must be from 0 to {PAYLOAD_MB_MAX}")

    @property
    def payload_bytes_max(self) -> int:
        """0 MB says that a whole object comes at once, however large: as large as we take."""
        return (self.max_payload_in_mb or PAYLOAD_MB_MAX) * 2**20


def read_settings(environment: Mapping[str, str]) -> tuple[ContainerSettings, SageMakerSettings]:
    """InvalidSettings with all problems of the first that has any."""
    return (
        settings.load(ContainerSettings, environment, prefix=PREFIX),
        settings.load(SageMakerSettings, environment, prefix="SAGEMAKER_"),
    )


def now_ms() -> EpochMs:
    return time.time_ns() // 1_000_000


def load_bundle(folder: Path) -> Bundle:
    """The one bundle in a model's folder, verified. CannotServe says why there is none."""
    found = sorted(folder.glob(f"*{SUFFIX}"))
    if not found:
        raise CannotServe(ServeProblem.NO_MODEL, f"no *{SUFFIX} in {folder}")
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:5])
        raise CannotServe(ServeProblem.SEVERAL_MODELS, f"{len(found)} bundles in {folder} ({names}): which one?")
    try:
        return load(found[0])
    except InvalidBundle as error:
        raise CannotServe(ServeProblem.INVALID_BUNDLE, f"{found[0].name}: {error}") from None
    except OSError as error:
        raise CannotServe(ServeProblem.UNREADABLE_MODEL, f"{found[0].name}: {error.strerror}") from None


def write_failure(folders: Folders, text: str) -> None:
    """For DescribeTrainingJob's FailureReason. Whole or not at all."""
    folders.failure.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folders.failure.parent, delete=False) as part:
        part.write(text)
    Path(part.name).replace(folders.failure)
