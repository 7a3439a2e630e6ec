"""PySAD's detectors over series, in an environment of their own: what `benchmarks.peers` runs with another Python.

    echo '{"detector": "LODA", "series": [[1.0, 2.0]]}' | PYTHON benchmarks/peers_pysad.py

answers {"scores": [[...]], "seconds": ...}. Nothing of this project is imported: that Python has PySAD only.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

# What the first readings say of the range, with as much again on both sides, is what half-space trees want to know
# beforehand; and of mean and deviation, by which the others' values are scaled.
_FIRST_READINGS = 300


def detector(name: str, values: Sequence[float]) -> Any:
    import numpy

    models: Any = importlib.import_module("pysad.models")
    if name != "HalfSpaceTrees":
        return getattr(models, name)()
    low, high = min(values[:_FIRST_READINGS]), max(values[:_FIRST_READINGS])
    room = (high - low) or 1.0
    return models.HalfSpaceTrees(
        feature_mins=numpy.array([low - room]), feature_maxes=numpy.array([high + room]), random_state=1
    )


def scores(name: str, values: Sequence[float]) -> list[float]:
    import numpy

    numpy.random.seed(1)  # PySAD draws from the old global generator
    model = detector(name, values)
    first = values[:_FIRST_READINGS]
    centre, scale = (
        (0.0, 1.0) if name == "HalfSpaceTrees" else (statistics.fmean(first), statistics.pstdev(first) or 1.0)
    )
    found = []
    for value in ((value - centre) / scale for value in values):
        row = numpy.array([value])
        found.append(float(numpy.asarray(model.fit_score_partial(row)).ravel()[0]))
    return found


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    began = time.perf_counter()
    answer = [scores(asked["detector"], values) for values in asked["series"]]
    json.dump({"scores": answer, "seconds": time.perf_counter() - began}, sys.stdout)
