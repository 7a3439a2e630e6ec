"""Detectors by name, and what it costs to ask for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from plantwatch.detectors import patient
from plantwatch.detectors.catalogue import AUTO, CATALOGUE
from plantwatch.detectors.joint import Joint
from plantwatch.detectors.twofold_series import TwofoldSeries
from plantwatch.native.series import NativeTwofold


def test_auto_takes_twofold_novelty_for_one_signal() -> None:
    assert isinstance(CATALOGUE[AUTO](1, None), TwofoldSeries | NativeTwofold)


@pytest.mark.parametrize("signals", [2, 8, 52])
def test_auto_takes_the_joint_detector_for_several_signals(signals: int) -> None:
    assert isinstance(CATALOGUE[AUTO](signals, None), Joint)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_detector_scores_a_signal_within_range(name: str) -> None:
    detector = CATALOGUE[name](1, 100)
    heard = [detector.step((float(turn % 7),)) for turn in range(600)] + [detector.step((1e6,)) for _ in range(50)]
    assert all(0.0 <= verdict.score <= 1.0 for verdict in heard)
    assert not any(verdict.alarm for verdict in heard[:600])
    assert any(verdict.alarm for verdict in heard[600:])


@pytest.mark.parametrize("name", ["twofold", "patient-novelty"])
def test_a_detector_of_one_signal_refuses_two(name: str) -> None:
    with pytest.raises(ValueError, match="one signal, not 2"):
        CATALOGUE[name](2, None)


def test_one_signal_is_scored_without_numpy() -> None:
    """25 MB and 100 ms that a gateway does not have to spend."""
    program = (
        "import sys; from plantwatch.detectors.catalogue import CATALOGUE; CATALOGUE['auto'](1, None).step((1.0,));"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_gap_neither_raises_nor_ends_an_alarm() -> None:
    detector = patient.PatientNovelty()
    for turn in range(2000):
        detector.step((float(turn % 7),))
    for _ in range(20):
        detector.step((90.0,))
    assert detector.step((None,)) == (0.0, True)
