"""`make bench`: every figure of the main job with its goal and verdict, into build/bench/main.json.

`python -m benchmarks.main --quick` leaves out the demo, the fresh clone and the tests, which take a quarter of an hour.
"""

from __future__ import annotations

import sys

from benchmarks import detection, edge, house, latency
from benchmarks.rows import gather, publish


def main(arguments: list[str]) -> None:
    parts = [
        (detection.measure, detection.unmeasured()),
        (edge.measure, edge.unmeasured()),
        (latency.measure, latency.unmeasured()),
    ]
    if "--quick" in arguments:
        publish("quick", gather(parts))
    else:
        publish("main", gather([*parts, (house.measure, house.unmeasured())]))


if __name__ == "__main__":
    main(sys.argv[1:])
