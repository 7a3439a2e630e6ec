"""Connectors read machines where no other component does: OPC UA, Modbus TCP, local MQTT, a directory of CSV files.

Each is a `Link` (one protocol) that a `Connector` (`base.py`) keeps alive. Their libraries are imported only where one
is configured.
"""
