"""What a connector reads, as configured under `connectors`: a list of objects, told apart by `kind`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from plantwatch.settings import InvalidSettings
from plantwatch.telemetry import InvalidReading, checked_name, signal_name

# Each has a thread, and a place in the status message.
CONNECTORS_MAX: Final = 16
CLOCK: Final = "ts"
"""In a register map: the register that holds the device's own time instead of a signal."""
REGISTERS: Final = {
    "int16": 1,
    "uint16": 1,
    "int32": 2,
    "uint32": 2,
    "int64": 4,
    "uint64": 4,
    "float32": 2,
    "float64": 4,
}
"""Type -> how many registers of 16 bits it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorSettings:
    """What all have. A source that says nothing for `silent_after_s` is reported. Passwords are in files: the
    configuration is shown to whoever may see the deployment."""

    name: str
    silent_after_s: float = 30.0
    backoff_s_min: float = 0.5
    backoff_s_max: float = 30.0

    def __post_init__(self) -> None:
        problems = [*_name_problem("name", self.name), *self._number_problems(), *self.problems()]
        if problems:
            raise InvalidSettings(problems)

    def problems(self) -> Iterable[str]:
        """What else is wrong, of one kind."""
        return ()

    def _number_problems(self) -> Iterable[str]:
        for key in self.__dataclass_fields__:
            if key.endswith(("_s", "_min", "_max")) and getattr(self, key) <= 0:
                yield f"{key}: must be above 0"
            if key.endswith("_path") and getattr(self, key) and not os.access(getattr(self, key), os.R_OK):
                yield f"{key}: cannot read {getattr(self, key)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcUaSettings(ConnectorSettings):
    """A subscription. With a certificate the channel is Basic256Sha256, signed and encrypted; then
    `server_certificate_path` says whom we trust. `application_uri` is the one in our certificate."""

    kind: Literal["opcua"] = "opcua"
    url: str
    nodes: Mapping[str, Mapping[str, str]]
    """device -> signal -> node id."""
    publishing_interval_s: float = 0.5
    # Nodes of one device with one source time are one reading; how long it waits for those that are still missing.
    gather_s: float = 0.2
    # Values that the server keeps for each node between two publications.
    queue_size: int = 100
    timeout_s: float = 4.0
    application_uri: str = ""
    certificate_path: str = ""
    key_path: str = ""
    server_certificate_path: str = ""
    user: str = ""
    password_path: str = ""

    def problems(self) -> Iterable[str]:
        if not self.url.startswith("opc.tcp://"):
            yield "url: must begin with opc.tcp://"
        if not self.nodes:
            yield "nodes: none"
        if self.queue_size < 1:
            yield "queue_size: must be above 0"
        secure = (self.certificate_path, self.key_path, self.server_certificate_path)
        if any(secure) and not all(secure):
            yield "certificate_path, key_path, server_certificate_path: all or none"
        for device, signals in self.nodes.items():
            yield from _name_problem(f"nodes.{device}", device)
            for signal in signals:
                yield from _signal_problem(f"nodes.{device}.{signal}", signal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One value of a register map: signal = raw x scale + offset. The signal `ts` is the device's own time, after
    scaling in seconds or milliseconds since 1970. `missing_raw` is what the device writes where it has no value."""

    device: str
    signal: str
    address: int
    type: str = "float32"
    table: str = "holding"
    word_order: str = "big"
    scale: float = 1.0
    offset: float = 0.0
    missing_raw: float | None = None

    def __post_init__(self) -> None:
        problems = [*_name_problem("device", self.device), *_signal_problem("signal", self.signal)]
        if not 0 <= self.address <= 65_535:
            problems.append("address: 0 to 65535")
        for key, allowed in (("type", REGISTERS), ("table", ("holding", "input")), ("word_order", ("big", "little"))):
            if getattr(self, key) not in allowed:
                problems.append(f"{key}: one of {', '.join(allowed)}, not {getattr(self, key)!r}")
        if problems:
            raise InvalidSettings(problems)

    @property
    def size(self) -> int:
        return REGISTERS[self.type]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusSettings(ConnectorSettings):
    """A device that is asked every `poll_interval_s`. What it holds between two polls was never seen by anybody."""

    kind: Literal["modbus"] = "modbus"
    host: str
    port: int = 502
    unit: int = 1
    poll_interval_s: float = 1.0
    timeout_s: float = 1.0
    registers: tuple[Register, ...]

    def problems(self) -> Iterable[str]:
        if not self.registers:
            yield "registers: none"
        if not {register.device for register in self.registers if register.signal != CLOCK} >= {
            register.device for register in self.registers
        }:
            yield "registers: a device has a clock and no signal"
        names = [(register.device, register.signal) for register in self.registers]
        if len(set(names)) < len(names):
            yield "registers: a signal of a device is there twice"


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings(ConnectorSettings):
    """Messages of a local broker, each one JSON object (or an array) as a device would send it to the cloud. The device
    is what stands in the filter's first `+`, unless `device` names it."""

    kind: Literal["mqtt"] = "mqtt"
    host: str
    port: int = 1883
    topic_filter: str
    device: str = ""
    client_id: str = ""
    ca_path: str = ""
    certificate_path: str = ""
    key_path: str = ""
    user: str = ""
    password_path: str = ""

    def problems(self) -> Iterable[str]:
        levels = self.topic_filter.split("/")
        if self.device:
            yield from _name_problem("device", self.device)
        elif "+" not in levels:
            yield "topic_filter: needs a + where the device's name stands, or set device"
        if bool(self.certificate_path) != bool(self.key_path):
            yield "certificate_path, key_path: both or none"


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvSettings(ConnectorSettings):
    """A directory in which finished files appear. Each is read once; the device is `device`, or what stands in the
    file's name before the first `_` or `.`. A file is finished when it has not changed for `settle_s`."""

    kind: Literal["csv"] = "csv"
    directory: str
    device: str = ""
    settle_s: float = 5.0
    scan_interval_s: float = 1.0
    silent_after_s: float = field(default=86_400.0)

    def problems(self) -> Iterable[str]:
        if self.device:
            yield from _name_problem("device", self.device)
        if not self.directory:
            yield "directory: missing"


AnyConnector = OpcUaSettings | ModbusSettings | MqttSettings | CsvSettings


def _name_problem(key: str, name: str) -> Iterable[str]:
    try:
        checked_name(name)
    except InvalidReading as error:
        yield f"{key}: {error}"


def _signal_problem(key: str, name: str) -> Iterable[str]:
    try:
        signal_name(name)
    except InvalidReading as error:
        yield f"{key}: {error}"
