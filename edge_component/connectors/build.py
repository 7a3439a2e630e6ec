"""A connector from its settings. Only here are the protocols' libraries imported: those that are configured."""

from __future__ import annotations

from pathlib import Path

from edge_component.clock import now_ms
from edge_component.connectors.base import Connector, Desk, Link
from edge_component.connectors.settings import AnyConnector, CsvSettings, ModbusSettings, MqttSettings, OpcUaSettings
from edge_component.connectors.source import Source
from edge_component.inbox import Inbox
from plantwatch.settings import InvalidSettings


def connector(settings: AnyConnector, inbox: Inbox, state_dir: Path) -> Source:
    """Not yet started. InvalidSettings where the protocol's library is not installed."""
    try:
        link = _link(settings, state_dir)
    except ImportError as error:
        raise InvalidSettings([f"connectors: {settings.name}: {settings.kind} is not installed: {error}"]) from None
    return Connector(
        settings.name,
        link,
        Desk(inbox.offer, now_ms),
        silent_after_s=settings.silent_after_s,
        backoff_s=(settings.backoff_s_min, settings.backoff_s_max),
    )


def _link(settings: AnyConnector, state_dir: Path) -> Link:
    match settings:
        case OpcUaSettings():
            from edge_component.connectors.opcua import OpcUaLink

            return OpcUaLink(settings)
        case ModbusSettings():
            from edge_component.connectors.modbus import ModbusLink

            return ModbusLink(settings)
        case MqttSettings():
            from edge_component.connectors.mqtt import MqttLink

            return MqttLink(settings)
        case CsvSettings():
            from edge_component.connectors.csv_files import CsvLink

            return CsvLink(settings, state_dir)
