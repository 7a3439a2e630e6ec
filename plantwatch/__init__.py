"""plantwatch: which machine misbehaves, why, and how sure it is, from the gateway to the data lake."""

__version__ = "0.1.0"
