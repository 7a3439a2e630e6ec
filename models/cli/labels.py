"""`plantwatch labels add|list`: what operators say about alerts, with their name and the time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from models.authors import AUTHOR_CHARS_MAX
from models.cli.common import Rows, now, output, refusals, user
from models.labels import InvalidLabel, LabelProblem, LabelVerdict, add_label, in_force, label_of, read_labels
from plantwatch.telemetry import isoformat

# A backtest of a year of a large plant; what is larger is no report of ours.
_REPORT_BYTES_MAX: Final = 256 * 1024 * 1024


def register(app: typer.Typer) -> None:
    """Add the commands to `plantwatch`."""
    labels = typer.Typer(name="labels", help="What operators say about alerts.", no_args_is_help=True)
    labels.command("add")(add)
    labels.command("list")(show)
    app.add_typer(labels)


def add(
    file: Annotated[Path, typer.Argument(help="JSON-lines file that the label is added to.")],
    verdict: Annotated[str, typer.Option(help=f"One of: {', '.join(LabelVerdict)}.")],
    device: Annotated[str, typer.Option(help="The machine.")] = "",
    since: Annotated[str | None, typer.Option(help="When it began (ISO 8601 or epoch).")] = None,
    until: Annotated[str | None, typer.Option(help="When it was over.")] = None,
    incident: Annotated[str, typer.Option(help="The alert's incident, instead of or beside a time.")] = "",
    report: Annotated[Path | None, typer.Option(help="Backtest report to look the incident up in.")] = None,
    by: Annotated[str | None, typer.Option(help=f"Who says so, at most {AUTHOR_CHARS_MAX} characters.")] = None,
    comment: Annotated[str, typer.Option(help="Why, in a line.")] = "",
) -> None:
    """Add one label: true (a fault), false (all was well) or expected (maintenance, a test)."""
    with refusals("add the label"):
        fields: dict[str, Any] = {"device": device, "verdict": verdict, "by": by or user(), "at": now()}
        fields |= {"since": since, "until": until, "comment": comment, "incident": incident}
        if incident and report is not None:
            fields |= _stretch_of(incident, report)
        label = label_of(fields)
        add_label(file, label)
        output.print(json.dumps(label.as_json(), ensure_ascii=False), markup=False)


def show(
    file: Annotated[Path, typer.Argument(help="JSON-lines file of labels.")],
    everything: Annotated[bool, typer.Option("--all", help="Also those that a later one replaced.")] = False,
) -> None:
    """List the labels that are in force, in the order in which they were given."""
    with refusals("list labels"):
        labels = read_labels(file)
        rows = Rows("device", "verdict", "since", "until", "incident", "by", "at", "comment")
        for label in labels if everything else in_force(labels):
            ends = [isoformat(end) for end in label.stretch] if label.stretch else ["", ""]
            rows.add(
                label.device, str(label.verdict), *ends, label.incident, label.by, isoformat(label.at), label.comment
            )
        rows.show()


def _stretch_of(incident: str, report: Path) -> dict[str, Any]:
    """Machine and times of an incident of a backtest report, which is as untrusted as any file."""
    with report.open("rb") as file:
        text = file.read(_REPORT_BYTES_MAX)
    try:
        for one in json.loads(text)["incidents"]:
            if one["incident_id"] == incident:
                return {"device": one["device"], "since": one["first_seen"], "until": one["ended_at"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidLabel(LabelProblem.NOT_A_LABEL, f"{report} is no backtest report") from None
    raise InvalidLabel(LabelProblem.INVALID_INCIDENT, f"{report} has no incident {incident[:40]!r}")
