"""Ctrl-C is heard once; what follows it cannot be broken off."""

from __future__ import annotations

import os
import signal

import pytest

from localcloud import interrupt
from localcloud.interrupt import heard_once


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_says_one_line_and_interrupts(number: int, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), heard_once("tidying up"):
        os.kill(os.getpid(), number)
    assert capfd.readouterr().err == "\ninterrupted: tidying up\n"


def test_a_second_one_does_not_break_off_the_tidy_end(capfd: pytest.CaptureFixture[str]) -> None:
    tidied = []

    def tidy() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        tidied.append("everything")

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            tidy()

    with pytest.raises(KeyboardInterrupt), heard_once("tidying up"):
        work()
    assert tidied == ["everything"]
    assert capfd.readouterr().err.count("interrupted") == 1


def test_who_asks_again_after_the_time_of_a_tidy_end_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "TIDY_END_S", 0.0)
    heard = 0
    with heard_once("tidying up"):
        for _ in range(2):
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                heard += 1
    assert heard == 2


def test_afterwards_signals_mean_what_they_meant_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with heard_once("tidying up"):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
