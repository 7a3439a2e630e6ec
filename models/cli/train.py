"""`plantwatch train`: a bundle from recorded machines, from CSV files or from the lake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from models.catalogue import AUTO, CATALOGUE
from models.cli.common import (
    CALENDAR,
    Rows,
    check_target,
    console,
    labels_from,
    output,
    recordings,
    refusals,
    unused,
    windows_from,
)
from models.history import InvalidHistory, Series
from models.labels import Label
from models.training import Trained, Wish, train
from plantwatch.bundle.container import save
from plantwatch.bundle.model import Bundle, Calibration
from plantwatch.cli.config import read_config
from plantwatch.maintenance import MaintenanceWindow
from plantwatch.settings import InvalidSettings
from plantwatch.telemetry import EpochMs, InvalidReading, parse_timestamp

_DETECTORS = ", ".join(f"{name} ({entry.meant_for})" for name, entry in CATALOGUE.items())


def register(app: typer.Typer) -> None:
    """Add the command to `plantwatch`."""
    app.command("train")(run)


def run(
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle to write.")],
    files: Annotated[list[Path] | None, typer.Argument(help="CSV files, one a machine, named by the file.")] = None,
    from_lake: Annotated[str | None, typer.Option(help="s3://BUCKET or a folder of the same layout.")] = None,
    since: Annotated[str | None, typer.Option(help="Of the lake: readings observed from here on.")] = None,
    until: Annotated[str | None, typer.Option(help="Of the lake: readings observed up to here.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose machines.")] = "local",
    name: Annotated[str | None, typer.Option(help="The bundle's name; without it, that of the file.")] = None,
    machine_type: Annotated[str, typer.Option(help="What the machines are.")] = "",
    detector: Annotated[str, typer.Option(help=f"auto, {_DETECTORS}.")] = AUTO,
    config: Annotated[Path | None, typer.Option(help="JSON file with parameters, instead of --detector.")] = None,
    alerts_per_day: Annotated[float, typer.Option(help="Wanted at most, of a machine that is well.")] = 0.1,
    labels: Annotated[Path | None, typer.Option(help="Operators' labels (see `plantwatch labels`).")] = None,
    calendar: Annotated[Path | None, CALENDAR] = None,
    created_at: Annotated[str | None, typer.Option(help="Without it, the time of the last reading.")] = None,
) -> None:
    """Learn what is normal from two thirds of each machine's time, and choose the threshold on the last third.

    A column `anomaly` or `label` (0 or 1) says when the machine misbehaved. The same data gives the same bytes. Exit
    code 2 and one line for data that nothing can be learnt from.
    """
    with refusals("train"):
        _check(detector, alerts_per_day)
        wish = Wish(
            name or out.stem,
            machine_type,
            None if config is None else read_config(config),
            detector,
            alerts_per_day,
            None if created_at is None else _time(created_at),
        )
        said = labels_from(labels)
        check_target(out)
        with recordings(files or [], from_lake, tenant, since, until) as series:
            trained = _trained(series, wish, said, windows_from(calendar, series))
        save(trained.bundle, out)
        _show(trained)
        console.print(f"written: {out}", markup=False)


def _trained(
    series: Sequence[Series], wish: Wish, labels: Sequence[Label], windows: Sequence[MaintenanceWindow]
) -> Trained:
    try:
        return train(series, wish, labels, windows)
    except ValueError as error:
        raise InvalidHistory(str(error)) from None


def _check(detector: str, alerts_per_day: float) -> None:
    problems = []
    if detector not in {AUTO, *CATALOGUE}:
        problems.append(f"detector: there is no {detector!r}; there are {AUTO}, {', '.join(CATALOGUE)}")
    if not 0.0 <= alerts_per_day < float("inf"):
        problems.append(f"alerts_per_day: {alerts_per_day} is no rate")
    if problems:
        raise InvalidSettings(problems)


def _time(text: str) -> EpochMs:
    try:
        return parse_timestamp(text, received_at=0)
    except InvalidReading as error:
        raise InvalidSettings([f"created_at: {error}"]) from None


def _show(trained: Trained) -> None:
    bundle, taken = trained.bundle, trained.choice.trial
    assert bundle.calibration is not None
    assert bundle.training is not None
    days = bundle.calibration.machine_days
    rows = Rows("open_at", "alerts in held-out time", "per machine and day", "faults found", "labelled false", "")
    for trial in trained.trials:
        rows.add(
            f"{trial.open_at:g}", str(trial.alerts), f"{trial.alerts / days:.3f}", str(len(trial.found)),
            str(len(trial.false)), "<- taken" if trial is taken else "",
        )  # fmt: skip
    rows.show()
    for note in trained.choice.notes:
        output.print(note, markup=False)
    for label in trained.unused:
        output.print(unused(label), markup=False)
    output.print(
        f"{bundle.name} ({bundle.digest}): {bundle.training.machines} machines, {bundle.training.rows:,} readings, "
        f"{len(bundle.priors)} signals; {_rate(bundle, bundle.calibration)}",
        markup=False,
    )


def _rate(bundle: Bundle, seen: Calibration) -> str:
    """What its own time says of alerts to come."""
    where = f"{seen.machine_days:.1f} machine-days that it was not learnt from"
    if bundle.expected_alerts_per_day == 0.0:
        return f"no alert on {where}: {seen.none_text}"
    return f"{bundle.expected_alerts_per_day:.3f} alerts per machine and day on {where}"
