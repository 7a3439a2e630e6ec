"""Real servers of the protocols that connectors read, each on a thread of its own, to be killed and started again."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Coroutine, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, Protocol

from amqtt.broker import Broker  # type: ignore[import-untyped]
from amqtt.client import MQTTClient  # type: ignore[import-untyped]
from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.status_codes import StatusCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge_component.connectors.settings import AnyConnector, ModbusSettings, MqttSettings, OpcUaSettings, Register

HOST = "127.0.0.1"
SIGNALS = ("flow", "temp")
HURRIED: Mapping[str, Any] = {"silent_after_s": 0.8, "backoff_s_min": 0.05, "backoff_s_max": 0.3}


class World(Protocol):
    """A source that can be told what to say. `has_clock`: readings carry the source's own time."""

    settings: AnyConnector
    has_clock: bool

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def tell(self, at_ms: int, flow: float | None, temp: float) -> None: ...


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


class OpcUaWorld:
    has_clock = True

    def __init__(self, port: int, **changes: Any) -> None:
        self.url = f"opc.tcp://{HOST}:{port}/"
        nodes = {"pump-1": {name: f"ns=2;s={name}" for name in SIGNALS}}
        self.settings: AnyConnector = OpcUaSettings(
            name="plc", url=self.url, nodes=nodes, publishing_interval_s=0.05, timeout_s=1.0, **HURRIED, **changes
        )
        self._loop = Loop()

    def start(self) -> None:
        self._loop.do(self._start())

    async def configure(self, server: Server) -> None:
        """For a world that is secured."""

    async def _start(self) -> None:
        self._server = Server()
        await self._server.init()
        self._server.set_endpoint(self.url)
        await self.configure(self._server)
        await self._server.register_namespace("plant")
        self._nodes = {
            name: await self._server.nodes.objects.add_variable(f"ns=2;s={name}", name, 0.0) for name in SIGNALS
        }
        await self._server.start()

    def stop(self) -> None:
        self._loop.do(self._server.stop())

    def tell(self, at_ms: int, flow: float | None, temp: float) -> None:
        self._loop.do(self._tell(at_ms, {"flow": flow, "temp": temp}))

    async def _tell(self, at_ms: int, values: Mapping[str, float | None]) -> None:
        for name, value in values.items():
            code = StatusCodes.BadSensorFailure if value is None else StatusCodes.Good
            variant = ua.Variant(value or 0.0, ua.VariantType.Double)
            at = ua.DateTime.fromtimestamp(at_ms / 1000, UTC)
            told = ua.DataValue(variant, ua.StatusCode(ua.UInt32(code)), SourceTimestamp=at)
            await self._server.write_attribute_value(self._nodes[name].nodeid, told)


class ModbusWorld:
    """Registers: time in ms (uint64) at 0, flow at 4, temp at 6 with the words swapped and in tenths."""

    has_clock = True

    def __init__(self, port: int, **changes: Any) -> None:
        self._port = port
        registers = (
            Register(device="pump-1", signal="ts", address=0, type="uint64"),
            Register(device="pump-1", signal="flow", address=4),
            Register(device="pump-1", signal="temp", address=6, type="int32", word_order="little", scale=0.1),
        )
        self.settings: AnyConnector = ModbusSettings(
            name="plc", host=HOST, port=port, poll_interval_s=0.02, timeout_s=0.5, registers=registers,
            **HURRIED, **changes,
        )  # fmt: skip
        self._loop = Loop()
        self._words = [0] * 8

    def start(self) -> None:
        self._loop.do(self._start())

    async def _start(self) -> None:
        device = SimDevice(1, [SimData(0, values=[0] * 8, datatype=DataType.REGISTERS)], action=self._fill)
        self._server = ModbusTcpServer(device, address=(HOST, self._port))
        await self._server.serve_forever(background=True)

    async def _fill(self, _function: int, start: int, _address: int, count: int, held: list[int], _new: Any) -> None:
        held[: len(self._words)] = self._words

    def stop(self) -> None:
        self._loop.do(self._server.shutdown())  # type: ignore[no-untyped-call]

    def tell(self, at_ms: int, flow: float | None, temp: float) -> None:
        raw = struct.pack(">Qf", at_ms, float("nan") if flow is None else flow)
        high, low = struct.unpack(">HH", struct.pack(">i", round(temp * 10)))
        self._words = [*struct.unpack(">6H", raw), low, high]


class MqttWorld:
    has_clock = True

    def __init__(self, port: int, **changes: Any) -> None:
        self._port = port
        self.settings: AnyConnector = MqttSettings(
            name="plc", host=HOST, port=port, topic_filter="line/+/data", **HURRIED, **changes
        )
        self._loop = Loop()

    def start(self) -> None:
        self._loop.do(self._start())

    async def _start(self) -> None:
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        listeners = {"default": {"type": "tcp", "bind": f"{HOST}:{self._port}"}}
        self._broker = Broker({"listeners": listeners, "plugins": plugins})
        await self._broker.start()
        self._client = MQTTClient(config={"auto_reconnect": False})
        await self._client.connect(f"mqtt://{HOST}:{self._port}/")

    def stop(self) -> None:
        self._loop.do(self._broker.shutdown())

    def tell(self, at_ms: int, flow: float | None, temp: float) -> None:
        text = "null" if flow is None else repr(flow)
        self.say(f'{{"ts":{at_ms},"flow":{text},"temp":{temp}}}'.encode())

    def say(self, payload: bytes) -> None:
        self._loop.do(self._client.publish("line/pump-1/data", payload, qos=1))


class CsvWorld:
    """Each reading is a file of one row."""

    has_clock = True

    def __init__(self, settings: AnyConnector, folder: Path) -> None:
        self.settings = settings
        self._folder = folder
        self._written = 0

    def start(self) -> None:
        self._folder.mkdir()

    def stop(self) -> None:
        for file in self._folder.iterdir():
            file.unlink()
        self._folder.rmdir()

    def tell(self, at_ms: int, flow: float | None, temp: float) -> None:
        self._written += 1
        text = "" if flow is None else repr(flow)
        (self._folder / f"pump-1_{self._written:03}.csv").write_text(f"time,flow,temp\n{at_ms},{text},{temp}\n")
