"""What differs between two bundles is told by name."""

from __future__ import annotations

from dataclasses import replace

from plantwatch.bundle.difference import ABSENT, Difference, diff
from plantwatch.bundle.model import Bundle
from plantwatch.policy import AlertPolicy
from plantwatch.watch_config import WatchConfig
from tests.unit.bundle.fleets import a_bundle


def test_a_bundle_does_not_differ_from_itself() -> None:
    assert diff(a_bundle(), a_bundle()) == []


def test_a_name_differs_and_the_judgement_does_not() -> None:
    assert diff(Bundle("a"), Bundle("b")) == [Difference("name", "a", "b")]


def test_a_parameter_is_named_with_its_path_and_changes_the_digest() -> None:
    other = Bundle("a", config=WatchConfig(process_policy=AlertPolicy(open_at=50.0)))
    parameter, digest = diff(Bundle("a"), other)
    assert digest == Difference("digest", Bundle("a").digest, other.digest)
    assert parameter == Difference("config.process_policy.open_at", 40.0, 50.0)


def test_a_signal_that_one_does_not_know_is_absent_there() -> None:
    whole = a_bundle()
    part = replace(whole, priors={"pressure": whole.priors["pressure"]})
    by_name = {difference.name: difference for difference in diff(part, whole)}
    assert by_name["priors.temperature"].before == ABSENT
    assert by_name["arrays.temperature/raw"].before == ABSENT
    assert set(by_name) == {"digest", "priors.temperature", "arrays.temperature/raw", "arrays.temperature/slow"}
