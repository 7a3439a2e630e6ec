"""The machines that one runtime watches: check and score each reading, decide, and keep all that in bounded memory.

    signal.py      one sensor of one machine: its checks, its process detector, its part in an incident
    incidents.py   the alert state of each kind of incident, and why they opened
    device.py      one machine: the path of a reading
    fleet.py       all machines of a runtime: found by name, saved and restored

Only observed time counts: a learning phase faster than real time, a replay of last year and a live gateway take the
same path with the same result.
"""

from plantwatch.machine.device import Machine, WatchCounts
from plantwatch.machine.fleet import MACHINES_MAX, Machines
from plantwatch.watch_config import WatchConfig

__all__ = ["MACHINES_MAX", "Machine", "Machines", "WatchConfig", "WatchCounts"]
