"""Modbus TCP: registers, asked for every `poll_interval_s`, with type, word order, scale and offset.

The protocol has neither time nor quality nor memory. A device may keep its time in registers (signal `ts`): then the
same time again is the same reading again, and not handed over twice. What changed between two polls is never seen.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient

from edge_component.connectors.base import Desk, Quality, SourceLost, Value, stamped
from edge_component.connectors.settings import CLOCK, ModbusSettings, Register

# The protocol's limit for one answer; registers that nobody asked for are read with it up to this gap.
_BLOCK_MAX: Final = 125
_GAP_MAX: Final = 8


class Block(NamedTuple):
    """Neighbouring registers, read with one request."""

    table: str
    start: int
    size: int
    registers: tuple[Register, ...]


def blocks(registers: Iterable[Register]) -> list[Block]:
    """As few requests as the protocol allows; a register is never torn between two."""
    found: list[Block] = []
    for register in sorted(registers, key=lambda item: (item.table, item.address)):
        end = register.address + register.size
        last = found[-1] if found else None
        near = last is not None and last.table == register.table
        if last and near and register.address - last.start - last.size <= _GAP_MAX and end - last.start <= _BLOCK_MAX:
            found[-1] = last._replace(size=max(last.size, end - last.start), registers=(*last.registers, register))
        else:
            found.append(Block(register.table, register.address, register.size, (register,)))
    return found


def value_of(register: Register, words: Sequence[int]) -> Value:
    """One register's value from its words."""
    datatype = AsyncModbusTcpClient.DATATYPE[register.type.upper()]
    raw: Any = AsyncModbusTcpClient.convert_from_registers(list(words), datatype, register.word_order)  # type: ignore[arg-type]
    if register.missing_raw is not None and raw == register.missing_raw:
        return Value(None, Quality.BAD, "no value")
    scaled = raw if (register.scale, register.offset) == (1.0, 0.0) else raw * register.scale + register.offset
    return Value(float(scaled)) if register.signal != CLOCK else Value(scaled)


class ModbusLink:
    """One server and one unit of it."""

    def __init__(self, settings: ModbusSettings) -> None:
        self.reads = f"modbus {settings.host}:{settings.port} unit {settings.unit}"
        self._settings = settings
        self._blocks = blocks(settings.registers)
        self._last_time: dict[str, float | None] = {}

    async def run(self, desk: Desk) -> None:
        settings = self._settings
        # Reconnecting is the connector's; an answer that does not come is not asked for again: it would be late.
        client = AsyncModbusTcpClient(
            settings.host, port=settings.port, timeout=settings.timeout_s, retries=0, reconnect_delay=0
        )
        try:
            if not await client.connect():
                raise SourceLost("cannot connect")
            desk.up()
            due = time.monotonic()
            while True:
                await self._poll(client, desk)
                due = max(due + settings.poll_interval_s, time.monotonic())
                await asyncio.sleep(due - time.monotonic())
        finally:
            client.close()

    async def _poll(self, client: AsyncModbusTcpClient, desk: Desk) -> None:
        values: defaultdict[str, dict[str, Value]] = defaultdict(dict)
        for block in self._blocks:
            for register, value in await self._read(client, block):
                values[register.device][register.signal] = value
        received_at = desk.now()
        for device, signals in values.items():
            self._hand(desk, device, signals, received_at)

    def _hand(self, desk: Desk, device: str, signals: dict[str, Value], received_at: int) -> None:
        clock = signals.pop(CLOCK, None)
        at = clock.value if clock else None
        if at is not None and self._last_time.get(device) == at:
            return
        fields = stamped(at, signals, received_at=received_at)
        desk.counts["bad_values"] += sum(fields[name] is None for name in signals)
        if desk.hand(device, fields):
            self._last_time[device] = at

    async def _read(self, client: AsyncModbusTcpClient, block: Block) -> list[tuple[Register, Value]]:
        read = client.read_holding_registers if block.table == "holding" else client.read_input_registers
        try:
            answer = await read(block.start, count=block.size, device_id=self._settings.unit)
        except ModbusException as error:
            raise SourceLost(str(error)) from None
        if answer.isError():
            why = f"exception {answer.exception_code}"
            return [(register, Value(None, Quality.BAD, why)) for register in block.registers]
        if len(answer.registers) < block.size:
            raise SourceLost(f"{len(answer.registers)} registers of {block.size}")
        return [
            (register, value_of(register, answer.registers[start : start + register.size]))
            for register in block.registers
            if (start := register.address - block.start) >= 0
        ]
