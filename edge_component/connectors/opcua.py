"""OPC UA: a subscription to nodes, with the source's own time and quality.

Values of one device with one source time make one reading. While we are away the server keeps nothing for us (its
queue belongs to the subscription, which dies with the session): after a reconnection each node tells its present value.
A server whose queue overflows says so with the value that follows; that is counted as lost.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import UaError

from edge_component.connectors.base import Desk, Quality, SourceLost, Value, stamped
from edge_component.connectors.settings import OpcUaSettings
from plantwatch.telemetry import EpochMs

_LOOK_S: Final = 0.05
# Info bits of a status (OPC UA 1.05, part 4, 7.39): the info type is "data value", and its queue overflowed.
_OVERFLOW: Final = 0x0480
# What one device may have open: a source with wild times must not fill the memory. Ten seconds at 10 readings/s.
_OPEN_MAX: Final = 100


class _Key(NamedTuple):
    device: str
    at: EpochMs | None


class _Open(NamedTuple):
    values: dict[str, Value]
    since: float


class Assembly:
    """Values of one device and one source time until all signals are there, or `gather_s` has passed. A device's
    readings leave in the order in which their first value came."""

    def __init__(self, signals: dict[str, int], gather_s: float) -> None:
        self._signals = signals
        self._gather_s = gather_s
        self._open: dict[_Key, _Open] = {}

    def add(self, device: str, signal: str, at: EpochMs | None, value: Value, now: float) -> None:
        self._open.setdefault(_Key(device, at), _Open({}, now)).values[signal] = value

    def take(self, now: float) -> list[tuple[str, EpochMs | None, dict[str, Value]]]:
        """What is complete or has waited long enough."""
        ready, blocked = [], set()
        excess = len(self._open) - _OPEN_MAX * len(self._signals)
        for index, (key, item) in enumerate(list(self._open.items())):
            complete = len(item.values) == self._signals[key.device]
            waited = now - item.since >= self._gather_s or index < excess
            if key.device not in blocked and (complete or waited):
                ready.append((key.device, key.at, self._open.pop(key).values))
            else:
                blocked.add(key.device)
        return ready


class OpcUaLink:
    """One server."""

    def __init__(self, settings: OpcUaSettings) -> None:
        self.reads = f"opcua {settings.url}"
        self._settings = settings
        self._nodes = {
            node_id: (device, signal)
            for device, signals in settings.nodes.items()
            for signal, node_id in signals.items()
        }
        self._lost = ""

    async def run(self, desk: Desk) -> None:
        assembly = Assembly(
            {device: len(signals) for device, signals in self._settings.nodes.items()}, self._settings.gather_s
        )
        client = await self._client(_secret(self._settings.password_path))
        self._lost = ""
        try:
            await client.connect()
            await self._subscribe(client, _Handler(self, assembly, desk))
            desk.up()
            while not self._lost:
                await asyncio.sleep(_LOOK_S)
                self._hand(assembly, desk, time.monotonic())
            raise SourceLost(self._lost)
        except (OSError, TimeoutError, UaError) as error:
            raise SourceLost(f"{type(error).__name__}: {error}") from None
        finally:
            self._hand(assembly, desk, float("inf"))
            await _disconnect(client)

    def lose(self, why: str) -> None:
        self._lost = why

    async def _client(self, password: str) -> Client:
        settings = self._settings
        # The watchdog reads the server's state: an end of the connection is noticed within a second.
        client = Client(settings.url, timeout=settings.timeout_s)
        if settings.application_uri:
            client.application_uri = settings.application_uri
        if settings.certificate_path:
            await client.set_security(
                SecurityPolicyBasic256Sha256,
                certificate=settings.certificate_path,
                private_key=settings.key_path,
                server_certificate=settings.server_certificate_path,
                mode=ua.MessageSecurityMode.SignAndEncrypt,
            )
        if settings.user:
            client.set_user(settings.user)
            client.set_password(password)

        async def lost(error: Exception) -> None:
            self.lose(f"{type(error).__name__}: {error}")

        client.connection_lost_callback = lost
        return client

    async def _subscribe(self, client: Client, handler: _Handler) -> None:
        subscription = await client.create_subscription(self._settings.publishing_interval_s * 1000, handler)
        # Also where a value stays the same: that it was measured again is a reading.
        trigger = ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
        items = []
        for handle, node_id in enumerate(self._nodes, start=1):
            parameters = ua.MonitoringParameters(
                ClientHandle=handle, SamplingInterval=0.0, QueueSize=self._settings.queue_size, DiscardOldest=True
            )
            parameters.Filter = trigger
            read = ua.ReadValueId(NodeId=ua.NodeId.from_string(node_id), AttributeId=AttributeIds.Value)
            items.append(
                ua.MonitoredItemCreateRequest(
                    ItemToMonitor=read, MonitoringMode=ua.MonitoringMode.Reporting, RequestedParameters=parameters
                )
            )
        for node_id, result in zip(self._nodes, await subscription.create_monitored_items(items), strict=True):
            if isinstance(result, ua.StatusCode):
                raise SourceLost(f"node {node_id}: {result.name}")

    def of_node(self, node_id: str) -> tuple[str, str]:
        return self._nodes[node_id]

    def _hand(self, assembly: Assembly, desk: Desk, now: float) -> None:
        for device, at, values in assembly.take(now):
            fields = stamped(at, values, received_at=desk.now())
            desk.counts["bad_values"] += sum(fields[name] is None for name in values)
            desk.hand(device, fields)


class _Handler:
    """What the subscription calls, on the connector's own loop."""

    def __init__(self, link: OpcUaLink, assembly: Assembly, desk: Desk) -> None:
        self._link = link
        self._assembly = assembly
        self._desk = desk

    def datachange_notification(self, node: Any, _value: Any, data: Any) -> None:
        told: ua.DataValue = data.monitored_item.Value
        device, signal = self._link.of_node(node.nodeid.to_string())
        status = told.StatusCode
        if status is not None and status.value & _OVERFLOW == _OVERFLOW:
            self._desk.counts["lost"] += 1
        self._desk.heard()
        self._assembly.add(device, signal, _epoch_ms(told.SourceTimestamp), value_of(told), time.monotonic())

    def status_change_notification(self, status: ua.StatusChangeNotification) -> None:
        self._link.lose(f"subscription: {status.Status.name}")


def value_of(told: ua.DataValue) -> Value:
    """A node's value with its quality; what is no number is bad."""
    status = told.StatusCode if told.StatusCode is not None else ua.StatusCode()
    value = told.Value.Value if told.Value is not None else None
    if status.is_bad():
        return Value(None, Quality.BAD, status.name)
    if not isinstance(value, int | float):
        return Value(None, Quality.BAD, type(value).__name__)
    return Value(float(value), Quality.UNCERTAIN if status.is_uncertain() else Quality.GOOD, status.name)


def _epoch_ms(moment: datetime | None) -> EpochMs | None:
    """The library's times are UTC, some of them without saying so."""
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def _secret(path: str) -> str:
    return Path(path).read_text().strip() if path else ""


async def _disconnect(client: Client) -> None:
    """Say goodbye to a server that may be gone; within a second, for whoever stops us does not wait longer."""
    try:
        await asyncio.wait_for(client.disconnect(), 1.0)
    except (OSError, TimeoutError, RuntimeError, UaError):
        client.disconnect_socket()
