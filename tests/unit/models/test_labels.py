"""Labels come from people: what is no label is refused by line and reason, and the later verdict holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.intervals import Interval
from models.labels import InvalidLabel, Label, LabelProblem, LabelVerdict, add_label, in_force, label_of, read_labels

AT = 1_772_600_000_000
GOOD: dict[str, Any] = {
    "device": "pump-2",
    "since": "2026-03-04T11:00:00Z",
    "until": "2026-03-04T13:00:00Z",
    "verdict": "false",
    "by": "mk",
    "at": "2026-03-05T07:10:00Z",
    "comment": "hot afternoon, all well",
}


def label(verdict: LabelVerdict = LabelVerdict.FALSE, at: int = AT, **more: Any) -> Label:
    return Label(**{"device": "pump-2", "verdict": verdict, "by": "mk", "at": at, "stretch": Interval(AT, AT), **more})


def test_what_is_added_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "new" / "labels.jsonl"
    labels = (label(comment="Lüftung ist geprüft"), label(stretch=None, incident="0123456789abcdef"))
    for one in labels:
        add_label(file, one)
    assert read_labels(file) == labels


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"verdict": "maybe"}, LabelProblem.INVALID_VERDICT),
        ({"verdict": ["true"]}, LabelProblem.INVALID_VERDICT),
        ({"verdict": None}, LabelProblem.INVALID_VERDICT),
        ({"device": "../pump"}, LabelProblem.INVALID_DEVICE),
        ({"device": 7}, LabelProblem.INVALID_DEVICE),
        ({"incident": "short"}, LabelProblem.INVALID_INCIDENT),
        ({"since": "yesterday"}, LabelProblem.INVALID_TIME),
        ({"since": None}, LabelProblem.INVALID_TIME),
        ({"since": "2026-03-04T14:00:00Z"}, LabelProblem.INVALID_TIME),
        ({"at": True}, LabelProblem.INVALID_TIME),
        ({"by": ""}, LabelProblem.INVALID_AUTHOR),
        ({"by": "mk\nroot"}, LabelProblem.INVALID_AUTHOR),
        ({"comment": "x" * 1025}, LabelProblem.INVALID_COMMENT),
        ({"since": None, "until": None}, LabelProblem.NO_STRETCH),
        ({"severity": "high"}, LabelProblem.UNKNOWN_FIELD),
    ],
)
def test_each_wrong_field_has_its_reason(change: dict[str, Any], problem: LabelProblem) -> None:
    with pytest.raises(InvalidLabel) as refused:
        label_of(GOOD | change)
    assert refused.value.problem is problem


@pytest.mark.parametrize("line", ["[]", "{", '{"a":1,"a":2}', "\udcff", "x" * 20_000, '{"at":NaN}'])
def test_a_line_that_is_no_label_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_bytes(json.dumps(GOOD).encode() + b"\n" + line.encode(errors="surrogateescape") + b"\n")
    with pytest.raises(InvalidLabel, match=r"labels\.jsonl: line 2: not_a_label") as refused:
        read_labels(file)
    assert len(str(refused.value)) < 400


def test_the_later_of_two_verdicts_on_the_same_stretch_holds() -> None:
    earlier, later = label(LabelVerdict.TRUE, AT + 1), label(LabelVerdict.FALSE, AT + 2)
    other = label(device="pump-3")
    assert set(in_force([later, earlier, other])) == {later, other}
