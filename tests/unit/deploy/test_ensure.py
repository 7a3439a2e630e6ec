"""The four steps, on a resource that lives in this process."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import pytest
from botocore.exceptions import ClientError

from deploy.ensure import core
from deploy.ensure.clients import Clients
from deploy.ensure.core import (
    Action,
    Change,
    EnsureFailed,
    Outcome,
    Resource,
    State,
    differences,
    ensure,
    ensure_absent,
    found,
)
from deploy.ensure.documents import managed_tags, policy
from deploy.report import Report

WANTED: State = {"size": 2, "policy": {"Statement": [{"Action": ["a", "b"]}]}}


@dataclass
class Account:
    """What is there. `drops` are fields that the service accepts and forgets; `refusals` come before success."""

    region: str = "us-east-1"
    there: State | None = None
    drops: frozenset[str] = frozenset()
    refusals: list[ClientError] = field(default_factory=list)
    writes: int = 0

    def write(self, state: State | None) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.writes += 1
        self.there = state


def refused(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Write")


@dataclass(frozen=True)
class Widget(Resource):
    kind: ClassVar[str] = "widget"
    settle_s: ClassVar[float] = 0.1
    name: str = "w-1"

    def desired(self) -> State:
        return dict(WANTED)

    def read(self, clients: Clients) -> State | None:
        return account(clients).there

    def create(self, clients: Clients) -> None:
        account(clients).write({"size": 1, "policy": None})

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        here = account(clients)
        written = {name: WANTED[name] for name in fields - here.drops}
        here.write({**(here.there or {}), **written})

    def delete(self, clients: Clients) -> None:
        account(clients).write(None)


def account(clients: Clients) -> Account:
    return cast(Account, clients)


def run(here: Account, **options: Any) -> Outcome:
    return ensure(Widget(), cast(Clients, here), **options)


@pytest.mark.parametrize("there", [None, {"size": 1, "policy": None}, {**WANTED, "size": 3}, WANTED])
def test_a_check_writes_nothing_and_announces_what_the_run_does_and_a_second_run_does_nothing(
    there: State | None,
) -> None:
    here = Account(there=there)
    announced = run(here, check=True)
    assert (here.writes, here.there) == (0, there)
    assert run(here) == announced
    assert here.there == WANTED
    writes = here.writes
    assert run(here) == Outcome("widget", "w-1", "us-east-1", Action.NONE)
    assert here.writes == writes


def test_a_write_that_the_service_forgets_is_not_done_and_the_field_is_named() -> None:
    with pytest.raises(EnsureFailed, match=r"widget w-1 in us-east-1: waited .* can be read: policy"):
        run(Account(drops=frozenset({"policy"})))


def test_a_refusal_names_the_resource_and_keeps_the_services_words() -> None:
    with pytest.raises(EnsureFailed, match=r"widget w-1 in us-east-1: .*AccessDenied.*not you"):
        run(Account(refusals=[refused("AccessDenied", "not you")]))


def test_a_role_that_cannot_be_assumed_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    not_yet = refused("InvalidParameter", "The role defined for the rule cannot be assumed")
    here = Account(refusals=[not_yet, not_yet])
    assert run(here).action is Action.CREATE
    assert here.there == WANTED
    assert waited == [0.5, 1.0]


def test_a_role_that_never_can_be_assumed_is_told_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_ROLE_DELAY_S", -1.0)
    with pytest.raises(EnsureFailed, match="cannot be assumed"):
        run(Account(refusals=[refused("InvalidParameter", "role cannot be assumed")]))


def test_deletion_is_announced_with_what_is_lost_and_needs_no_second_one() -> None:
    here = Account(there=dict(WANTED))
    clients = cast(Clients, here)
    announced = ensure_absent(Widget(), clients, check=True)
    assert here.there == WANTED
    assert Change("size", 2, None) in announced.changes
    assert ensure_absent(Widget(), clients) == announced
    assert ensure_absent(Widget(), clients).action is Action.NONE
    assert here.writes == 1


@pytest.mark.parametrize(
    ("before", "wanted", "expected"),
    [
        (None, {"a": 1}, [Change("a", None, 1)]),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, [Change("a.b[1].c", 2, 3)]),
        ({"a": [1]}, {"a": [1, 2]}, [Change("a", [1], [1, 2])]),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, [Change("a.y", 2, None)]),
        ({"a": 1}, {"a": 1}, []),
    ],
)
def test_differences_are_named_by_path(before: State | None, wanted: State, expected: list[Change]) -> None:
    assert list(differences(before, wanted)) == expected


def test_only_the_codes_that_mean_missing_are_taken_for_missing() -> None:
    def answer(code: str) -> Any:
        raise refused(code)

    assert found(lambda: answer("NoSuchThing"), "NoSuchThing") is None
    with pytest.raises(ClientError, match="AccessDenied"):
        found(lambda: answer("AccessDenied"), "NoSuchThing")


def test_a_policy_that_aws_gives_back_in_another_order_is_the_same_policy() -> None:
    sent = {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "A", "Action": ["x:b", "x:a"], "Resource": "r", "Condition": {"Bool": {"k": True}}},
            {"Sid": "B", "Action": "x:c", "Principal": {"AWS": ["2", "1"]}},
        ],
    }
    given_back = (
        '{"Statement":[{"Principal":{"AWS":["1","2"]},"Action":["x:c"],"Sid":"B"},'
        '{"Condition":{"Bool":{"k":["true"]}},"Resource":["r"],"Action":["x:a","x:b"],"Sid":"A"}],'
        '"Version":"2012-10-17"}'
    )
    assert policy(sent) == policy(given_back)
    assert policy(sent) != policy(given_back.replace("x:c", "x:d"))


def test_tags_of_others_are_not_ours_to_compare() -> None:
    present = [{"Key": "cost-centre", "Value": "42"}, {"Key": "env", "Value": "dev"}]
    assert managed_tags({"env": "prod", "tenant": "acme"}, present) == {"env": "dev"}


def test_the_plan_names_fields_and_cuts_long_values() -> None:
    change = Change("policy", None, "x" * 500)
    outcome = Outcome("s3_bucket", "b", "us-east-1", Action.UPDATE, (change,))
    text = Report((outcome,), check=True, duration_s=0.04).as_text()
    assert "~ update  us-east-1  s3_bucket  b" in text
    assert "policy: (none) -> " in text
    assert "1 update: would be (nothing was written)" in text
    assert max(map(len, text.splitlines())) < 140
