"""Reports as a person reads them on a terminal: alerts as cards, the loss ledger, latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

Report = Mapping[str, Any]
BAD_ROWS_SHOWN = 10

_SEVERITY_STYLE = {"high": "red", "medium": "yellow", "low": "cyan"}
_LEDGER = {
    "received": "received",
    "missing": "missing",
    "duplicate": "double",
    "lake_rows": "lake rows",
    "redelivered": "sent again",
    "rejected": "refused",
}
_KIND_WORDS = {"process_anomaly": "process anomaly", "sensor_fault": "sensor fault"}


def replay_report(console: Console, report: Report) -> None:
    """What became of a replayed file."""
    verdict = (
        "[green]complete" if report["ok"] else "[red]incomplete" if report["sent"] else "[red]nothing could be sent"
    )
    console.print(
        f"\n{report['file']} as {report['device']} via {report['via']}: {verdict}[/], {report['duration_s']} s"
    )
    bad_rows(console, report["bad_rows"])
    console.print(ledger(report["regions"]))
    for role, region in report["regions"].items():
        for reason, count in region["rejected_by_reason"].items():
            console.print(f"{role} refused {count}: {reason}")
    alert_cards(console, report["alerts"])
    if report["known_before"]:
        console.print(
            f"{report['known_before']} of {report['sent']} rows are of times of which {report['device']} had readings"
            " before: it knows this series already, and what was strange then may be ordinary now, or alerted already;"
            " replay it as another --device for a first look",
            soft_wrap=True,
        )


def bad_rows(console: Console, rows: Sequence[Report]) -> None:
    """Each row that was refused, by whom and why, up to a screen of them."""
    for bad in rows[:BAD_ROWS_SHOWN]:
        by = "" if bad["refused_by"] == "file" else f", refused by the {bad['refused_by']}"
        console.print(f"  row {bad['row']}{by}: {bad['reason']} ({bad['detail']})", markup=False, soft_wrap=True)
    if len(rows) > BAD_ROWS_SHOWN:
        console.print(f"  and {len(rows) - BAD_ROWS_SHOWN} more rows, all in --report FILE")


def demo_report(console: Console, report: Report) -> None:
    """The demo's summary: cards, faults, ledger, latencies, verdict."""
    alert_cards(console, report["alerts"])
    console.print(faults(report["faults"]))
    readings = report["readings"]
    paths = ", ".join(f"{count} via {path}" for path, count in readings["by_path"].items())
    console.print(f"\n[bold]Loss ledger[/]: {readings['sent']} readings sent ({paths})")
    console.print(ledger(report["regions"]))
    for name, latency in report["latency_ms"].items():
        if latency["p50"] is not None:
            console.print(f"{name.replace('_', ' ')}: p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms")
    for problem in report["problems"]:
        console.print(f"[red]problem:[/] {problem}")
    console.print("[bold green]ok" if report["ok"] else "[bold red]not ok", f"in {report['duration_s']} s")


def alert_cards(console: Console, alerts: Sequence[Report]) -> None:
    if not alerts:
        console.print("no alerts")
    for alert in alerts:
        console.print(alert_card(alert))


def alert_card(alert: Report) -> Panel:
    """One alert: what, since when, how sure, and each signal's part."""
    table = Table("signal", "share", "observed", "expected", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for cause in alert["signals"]:
        low, high = cause["expected_low"], cause["expected_high"]
        expected = f"{low:.4g} to {high:.4g}" if low is not None and high is not None else "-"
        observed = f"{cause['observed']:.4g}" if cause["observed"] is not None else "-"
        signal = f"{cause['signal']} ({cause['fault'].replace('_', ' ')})" if cause["fault"] else cause["signal"]
        table.add_row(signal, f"{100 * cause['share']:.0f} %", observed, expected)
    grid = Table.grid(expand=True)
    grid.add_row(Text(alert["text"]))
    grid.add_row(table)
    grid.add_row(Text(f"first seen {alert['first_seen']}, incident {alert['incident_id']}, {alert['region']}", "dim"))
    title = f"{alert['severity']}: {_KIND_WORDS[alert['kind']]}"
    return Panel(grid, title=title, title_align="left", border_style=_SEVERITY_STYLE.get(alert["severity"], "white"))


def faults(rows: Sequence[Report]) -> Table:
    table = Table("fault", "at", "found after", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        found = f"[green]{row['delay_s']:.1f} s" if row["detected"] else "[red]not found"
        table.add_row(row["fault"].replace("_", " "), row["device"], found)
    return table


def ledger(regions: Mapping[str, Report]) -> Table:
    shown = [column for column in _LEDGER if all(column in region for region in regions.values())]
    table = Table("", "region", *(_LEDGER[column] for column in shown), box=None, padding=(0, 2, 0, 0))
    for role, region in regions.items():
        table.add_row(role, region["region"], *(_count(column, region[column]) for column in shown))
    return table


def _count(column: str, count: int) -> str:
    return f"[red]{count}" if count and column in ("missing", "duplicate") else str(count)
