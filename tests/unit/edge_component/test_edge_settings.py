"""Settings: all problems at once, text is coerced, and the recipe says the same."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge_component import settings
from edge_component.settings import ACKS_TOPIC, STATUS_TOPIC, TELEMETRY_FILTER, EdgeSettings
from localcloud.nucleus.access import MQTT_PROXY, PUBSUB, allowed
from plantwatch.settings import InvalidSettings
from plantwatch.telemetry import telemetry_topic

RECIPE_PATH = Path(__file__).parents[3] / "recipes" / "com.plantwatch.EdgeScorer-1.0.0.json"
RECIPE: dict[str, Any] = json.loads(RECIPE_PATH.read_text())
DEFAULTS: dict[str, Any] = RECIPE["ComponentConfiguration"]["DefaultConfiguration"]
CONTROL: dict[str, Any] = DEFAULTS["accessControl"]
VARIABLES = {"iot:thingName": "gateway-1"}


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(InvalidSettings) as caught:
        settings.load({"tenant": "a b", "linger_s": 0, "dr_enabled": "true", "dr_key_path": "/nowhere"}, thing="gw")
    keys = {problem.split(":")[0] for problem in caught.value.problems}
    assert keys == {"tenant", "linger_s", "dr_host", "dr_certificate_path", "dr_ca_path", "dr_key_path"}


def test_scalars_that_arrive_as_text_are_coerced() -> None:
    loaded = settings.load(
        {"tenant": "acme", "linger_s": "0.25", "dr_port": "8884", "dr_enabled": "false", "accessControl": {}},
        thing="gateway-1",
    )
    assert (loaded.linger_s, loaded.dr_port, loaded.dr_enabled) == (0.25, 8884, False)
    assert loaded.gateway == "gateway-1"


def test_an_unknown_key_is_a_problem() -> None:
    with pytest.raises(InvalidSettings, match="lingers"):
        settings.load({"tenant": "acme", "lingers": 1}, thing="gateway-1")


def test_a_batch_must_fit_into_the_primary_leg() -> None:
    with pytest.raises(InvalidSettings, match="batch_bytes_max"):
        settings.load({"tenant": "acme", "batch_bytes_max": 20_000}, thing="gateway-1")


def _as_json(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def test_the_recipes_default_configuration_equals_the_settings() -> None:
    model = {item.name: _as_json(item.default) for item in dataclasses.fields(EdgeSettings)}
    assert {key: value for key, value in DEFAULTS.items() if key != "accessControl"} == model


def test_the_recipes_keys_have_the_case_that_greengrass_reads() -> None:
    assert set(RECIPE) == {
        "RecipeFormatVersion", "ComponentName", "ComponentVersion", "ComponentDescription", "ComponentPublisher",
        "ComponentConfiguration", "Manifests",
    }  # fmt: skip
    (manifest,) = RECIPE["Manifests"]
    assert set(manifest) == {"Platform", "Artifacts", "Lifecycle"}
    # Nucleus lite wants a runtime, and knows neither shutdown, recover nor Skipif.
    assert manifest["Platform"] == {"os": "linux", "runtime": "*"}
    assert set(manifest["Lifecycle"]) == {"install", "run"}
    assert set(manifest["Lifecycle"]["install"]) == {"RequiresPrivilege", "Timeout", "Script"}
    assert set(manifest["Lifecycle"]["run"]) == {"Setenv", "Script"}
    for artifact in manifest["Artifacts"]:
        assert set(artifact) == {"Uri", "Unarchive", "Permission"}


def test_the_recipes_name_and_version_are_those_of_its_file() -> None:
    assert RECIPE_PATH.name == f"{RECIPE['ComponentName']}-{RECIPE['ComponentVersion']}.json"
    assert re.fullmatch(r"\d+\.\d+\.\d+", RECIPE["ComponentVersion"])
    assert RECIPE["RecipeFormatVersion"] == "2020-01-25"


def test_the_recipe_runs_this_component_from_pinned_wheels() -> None:
    lifecycle = RECIPE["Manifests"][0]["Lifecycle"]
    assert lifecycle["run"]["Script"].endswith("-m edge_component")
    assert "exec " in lifecycle["run"]["Script"]
    assert {"--no-index", "--require-hashes"} <= set(lifecycle["install"]["Script"].split())


def test_policy_ids_are_unique_and_operations_exist() -> None:
    ids = [policy for service in CONTROL.values() for policy in service]
    assert len(ids) == len(set(ids))
    assert all(policy.startswith(RECIPE["ComponentName"] + ":") for policy in ids)
    operations = {item for service in CONTROL.values() for policy in service.values() for item in policy["operations"]}
    assert operations <= {
        "aws.greengrass#SubscribeToTopic", "aws.greengrass#PublishToTopic", "aws.greengrass#PublishToIoTCore",
        "aws.greengrass#SubscribeToIoTCore",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("service", "operation", "topic"),
    [
        (PUBSUB, "SubscribeToTopic", TELEMETRY_FILTER),
        (PUBSUB, "PublishToTopic", ACKS_TOPIC),
        (PUBSUB, "PublishToTopic", STATUS_TOPIC),
        (MQTT_PROXY, "PublishToIoTCore", telemetry_topic("acme", "gateway-1")),
    ],
)
def test_access_control_covers_every_topic_that_the_code_uses(service: str, operation: str, topic: str) -> None:
    assert allowed(CONTROL, service, operation, topic, VARIABLES)


def test_access_control_does_not_let_the_gateway_speak_for_another_device() -> None:
    other = telemetry_topic("acme", "gateway-2")
    assert not allowed(CONTROL, MQTT_PROXY, "PublishToIoTCore", other, VARIABLES)
