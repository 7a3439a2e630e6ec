"""The stand-in's parts without a socket: configuration, local bus, settings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edge_component.mqtt import MqttEndpoint
from localcloud.nucleus import settings
from localcloud.nucleus.access import PUBSUB
from localcloud.nucleus.components import Tokens
from localcloud.nucleus.configuration import Configurations, merge
from localcloud.nucleus.ipc import Call, InvalidArguments, ResourceNotFound, Unauthorized
from localcloud.nucleus.pubsub import LocalBus
from localcloud.nucleus.settings import (
    SOCKET_PATH_CHARS_MAX,
    NucleusSettings,
    Visitor,
    edge_configuration,
    short_socket,
)
from plantwatch.settings import InvalidSettings

UPLINK = MqttEndpoint("127.0.0.1", 8883, "gateway-1", "a.crt", "a.key", "ca.pem")


def test_a_deployment_merges_objects_and_replaces_the_rest() -> None:
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert merge(base, {"a": {"y": [3]}, "c": 2}) == {"a": {"x": 1, "y": [3]}, "b": 1, "c": 2}
    assert base == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


@pytest.mark.parametrize(("as_text", "expected"), [(True, {"x": "1", "y": "true"}), (False, {"x": 1, "y": True})])
def test_nucleus_lite_hands_out_scalars_as_text_and_classic_as_they_are(as_text: bool, expected: Any) -> None:
    configurations = Configurations(as_text=as_text)
    configurations.add("edge", {"x": 1, "y": True})
    assert configurations.get(Call("edge", "GetConfiguration", {})).body["value"] == expected


def test_a_missing_key_is_not_found() -> None:
    configurations = Configurations(as_text=True)
    configurations.add("edge", {"x": {"y": 1}})
    with pytest.raises(ResourceNotFound):
        configurations.get(Call("edge", "GetConfiguration", {"keyPath": ["x", "z"]}))


def test_a_deployment_tells_the_watchers_of_each_changed_leaf() -> None:
    async def scenario() -> list[Any]:
        configurations = Configurations(as_text=True)
        configurations.add("edge", {"x": 1})
        heard: list[Any] = []
        reply = configurations.watch(Call("edge", "SubscribeToConfigurationUpdate", {}))
        assert reply.subscription
        end = reply.subscription(lambda model, body: heard.append(body["configurationUpdateEvent"]["keyPath"]))
        configurations.change("edge", {"x": 2, "deep": {"y": 3}})
        await asyncio.sleep(0)
        end()
        configurations.change("edge", {"x": 4})
        await asyncio.sleep(0)
        return heard

    assert asyncio.run(scenario()) == [["x"], ["deep", "y"]]


def everything(call: Call, service: str, resource: str) -> None:
    assert service == PUBSUB


def nothing(call: Call, service: str, resource: str) -> None:
    raise Unauthorized(resource)


def publish(topic: str, component: str = "driver", **message: Any) -> Call:
    return Call(component, "PublishToTopic", {"topic": topic, "publishMessage": message})


def test_a_subscriber_may_ask_for_the_messages_of_others_only() -> None:
    bus = LocalBus(everything, PUBSUB)
    heard: dict[str, list[Any]] = {"all": [], "others": []}
    for name, mode in (("all", None), ("others", "RECEIVE_MESSAGES_FROM_OTHERS")):
        reply = bus.subscribe(Call("driver", "SubscribeToTopic", {"topic": "a/+", "receiveMode": mode}))
        assert reply.subscription
        reply.subscription(lambda _model, body, name=name: heard[name].append(body))  # type: ignore[misc]
    bus.publish(publish("a/b", binaryMessage={"message": "eA=="}))
    bus.publish(publish("a/b", component="other", jsonMessage={"message": {"x": 1}}))
    own = {"binaryMessage": {"message": "eA==", "context": {"topic": "a/b"}}}
    others = {"jsonMessage": {"message": {"x": 1}, "context": {"topic": "a/b"}}}
    assert heard == {"all": [own, others], "others": [others]}


@pytest.mark.parametrize("message", [{}, {"jsonMessage": {"message": {}}, "binaryMessage": {"message": ""}}])
def test_a_message_is_either_json_or_binary(message: dict[str, Any]) -> None:
    with pytest.raises(InvalidArguments):
        LocalBus(everything, PUBSUB).publish(publish("a/b", **message))


def test_a_topic_without_a_policy_is_refused() -> None:
    with pytest.raises(Unauthorized):
        LocalBus(nothing, PUBSUB).publish(publish("a/b", binaryMessage={"message": ""}))


def test_a_token_is_good_until_it_is_revoked() -> None:
    tokens = Tokens()
    first, second = tokens.issue("edge"), tokens.issue("edge")
    assert first != second
    tokens.revoke(first)
    assert (tokens.component(first), tokens.component(second)) == (None, "edge")


def test_settings_are_written_and_read_again_for_their_owner_only(tmp_path: Path) -> None:
    nucleus = NucleusSettings(
        "gateway-1", "us-east-1", tmp_path, short_socket(tmp_path), UPLINK,
        (settings.Deployment(settings.RECIPE, edge_configuration("acme", UPLINK, linger_s=0.2)),),
        (Visitor("simulator", "secret", {"aws.greengrass.ipc.pubsub": {}}),),
    )  # fmt: skip
    path = tmp_path / "nucleus.json"
    settings.write(path, nucleus)
    assert settings.read(path) == nucleus
    assert path.stat().st_mode & 0o077 == 0


def test_a_socket_path_that_the_kernel_would_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="socket: longer than 107"):
        NucleusSettings("gateway-1", "us-east-1", tmp_path, tmp_path / ("x" * 100), UPLINK)
    deep = tmp_path / ("d" * 200)
    assert len(str(short_socket(deep))) <= SOCKET_PATH_CHARS_MAX
    assert short_socket(deep) != short_socket(tmp_path)
