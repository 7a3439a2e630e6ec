"""Simulated senders: machines with faults, a sensor driver on the gateway, and plain things."""
