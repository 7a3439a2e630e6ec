"""`plantwatch backtest`: what a bundle would have alerted about, and what another one would change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from models.backtest import Backtest, alerts_of, as_json, backtest, trained_on
from models.cli.common import (
    CALENDAR,
    Rows,
    bundle_at,
    bundle_from,
    check_target,
    console,
    labels_from,
    output,
    recordings,
    refusals,
    unused,
    windows_from,
    write_json,
)
from models.judgement import Scores
from models.replay import Found
from models.shadow import Difference
from plantwatch.incident import Kind
from plantwatch.telemetry import isoformat

# More incidents than this are read in the report, not on a screen.
_SHOWN_MAX = 40


def register(app: typer.Typer) -> None:
    """Add the command to `plantwatch`."""
    app.command("backtest")(run)


def run(
    files: Annotated[list[Path] | None, typer.Argument(help="CSV files, one a machine, named by the file.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle to try; without one, standard parameters.")] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file with parameters, instead of a bundle.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Operators' labels (see `plantwatch labels`).")] = None,
    calendar: Annotated[Path | None, CALENDAR] = None,
    against: Annotated[Path | None, typer.Option(help="Shadow run: the bundle to hold it against.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write everything as JSON here.")] = None,
    thresholds: Annotated[bool, typer.Option(help="Also count alerts at other thresholds (slower).")] = True,
    from_lake: Annotated[str | None, typer.Option(help="s3://BUCKET or a folder of the same layout.")] = None,
    since: Annotated[str | None, typer.Option(help="Of the lake: readings observed from here on.")] = None,
    until: Annotated[str | None, typer.Option(help="Of the lake: readings observed up to here.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose machines; part of an incident's identity.")] = "local",
) -> None:
    """Run recorded readings past the real machines: alerts, delays, scores, and what a change would change.

    A column `anomaly` or `label` (0 or 1) says when the machine misbehaved. Exit code 2 and one line for bad input.
    """
    with refusals("backtest"):
        tried, old = bundle_from(bundle, config), None if against is None else bundle_at(against)
        said = labels_from(labels)
        if report is not None:
            check_target(report)
        with recordings(files or [], from_lake, tenant, since, until) as series:
            windows = windows_from(calendar, series)
            result = backtest(series, tried, labels=said, windows=windows, against=old, thresholds=thresholds)
        _show(result)
        if report is not None:
            write_json(report, as_json(result))
            console.print(f"written: {report}", markup=False)


def _show(result: Backtest) -> None:
    bundle = result.bundle
    output.print(f"{bundle.name} ({bundle.digest}) on {result.machine_days:.1f} machine-days", markup=False)
    for bundle in (result.bundle, *([result.old] if result.old else [])):
        for name in trained_on(bundle, result.extents):
            output.print(f"{name} is among what {bundle.name} was trained on: this is no test of it", markup=False)
    _show_machines(result)
    _show_incidents("incidents", result.found, result)
    if result.has_truth:
        _show_scores(bundle.name, result.scores)
    if result.counts:
        _show_counts(result)
    if result.change is not None and result.old is not None:
        _show_change(result, result.change, result.old.name)
    for extent in result.extents:
        if count := extent.repeated_times:
            times = "time is" if count == 1 else "times are"
            output.print(f"{extent.source}: {count} {times} repeated", markup=False)
    for label in result.unused:
        output.print(unused(label), markup=False)


def _show_machines(result: Backtest) -> None:
    rows = Rows("machine", "days", "readings", "process alerts", "sensor alerts", "a day")
    for extent in result.extents:
        alerts = alerts_of(result, extent.device)
        rate = f"{alerts.total() / extent.days:.2f}" if extent.days else "-"
        process, sensor = alerts[Kind.PROCESS_ANOMALY], alerts[Kind.SENSOR_FAULT]
        rows.add(extent.device, f"{extent.days:.1f}", str(extent.readings), str(process), str(sensor), rate)
    rows.show()


def _show_incidents(title: str, found: Sequence[Found], result: Backtest | None) -> None:
    if not found:
        return
    rows = Rows(title, "opened", "until", "kind", "severity", "signals", *(("judged",) if result else ()))
    for one in found[:_SHOWN_MAX]:
        until = isoformat(one.ended_at)[:16] if one.is_over else "still open"
        judged = (str(result.judged(one)),) if result else ()
        rows.add(
            f"{one.device} {one.incident_id}", isoformat(one.opened_at)[:16], until, str(one.kind), one.severity,
            ", ".join(one.signals), *judged,
        )  # fmt: skip
    rows.show()
    if len(found) > _SHOWN_MAX:
        output.print(f"and {len(found) - _SHOWN_MAX} more; --report has them all")


def _show_scores(name: str, scores: Scores) -> None:
    fields = scores.as_json()
    rows = Rows(name, "recall", "precision", "F1")
    figures = (
        ("events", fields["event"]),
        ("ranges", fields["range"]),
        ("always in alarm", fields["chance"]["always_in_alarm"]),
    )
    for title, figure in figures:
        rows.add(title, *(_figure(figure[key]) for key in ("recall", "precision", "f1")))
    rows.show()
    late = [one for one in scores.detections if one.delay_s is None]
    delay = "-" if scores.median_delay_s is None else f"{scores.median_delay_s:,.0f} s"
    found = len(scores.detections) - len(late)
    output.print(
        f"{found} of {len(scores.detections)} faults found, median delay {delay}; alerts at random would be right in "
        f"{scores.chance_precision:.1%}"
    )


def _show_counts(result: Backtest) -> None:
    own = result.bundle.config.process_policy.open_at
    rows = Rows("open_at", "process alerts", "per machine and day", "right", "wrong", "")
    for count in result.counts:
        mark = "<- this bundle" if count.open_at == own else ""
        numbers = (str(number) for number in (count.alerts, f"{count.per_machine_day:.3f}", count.right, count.wrong))
        rows.add(f"{count.open_at:g}", *numbers, mark)
    rows.show()


def _show_change(result: Backtest, change: Difference, old: str) -> None:
    output.print(
        f"against {old}: {len(change.both)} incidents in both, {len(change.only_new)} only new, "
        f"{len(change.only_old)} only old",
        markup=False,
    )
    _show_incidents("only new", change.only_new, result)
    _show_incidents("only old", change.only_old, result)
    if change.both:
        rows = Rows("in both", "opened (new)", "opened (old)", "later by")
        for pair in change.both[:_SHOWN_MAX]:
            opened = (isoformat(one.opened_at)[:19] for one in pair)
            rows.add(f"{pair.new.device} {pair.new.incident_id}", *opened, f"{pair.later_s:+,.0f} s")
        rows.show()
    if result.old_scores is not None and result.has_truth:
        _show_scores(old, result.old_scores)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
