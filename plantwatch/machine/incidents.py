"""The incidents of one machine: its alert state of each kind, why they opened, and what moved first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from plantwatch.detectors.base import SURPRISE_MAX, score_of
from plantwatch.explain import Suspect, causes, price_of_looks
from plantwatch.incident import Cause, Fault, FirstSign, Kind, Phase, Transition
from plantwatch.machine.signal import Found, WatchedSignal
from plantwatch.policy import WATCHING, AlertPolicy, AlertState, decide, severity
from plantwatch.telemetry import EpochMs, Reading
from plantwatch.watch_config import WatchConfig

# A stuck or silent sensor is certain at once; an impossible value needs three in a row to be more than a glitch.
FAULT_SURPRISE: Final = {
    Fault.STUCK: SURPRISE_MAX,
    Fault.GAP: SURPRISE_MAX,
    Fault.NOT_FINITE: SURPRISE_MAX,
    Fault.OUT_OF_RANGE: 5.0,
}
# A value that strange is news in itself, so that its repetition says nothing about the sensor.
NEWS: Final = 4.0


Implicated = Callable[[Sequence[str]], Sequence[str]]
"""Of signals that leave what the others say (the strongest first), those that do not merely follow another one."""


class Incidents:
    """What is known of a machine's present incidents. `is_calm` while there is neither evidence nor an open one."""

    __slots__ = (
        "process",
        "sensors",
        "is_calm",
        "open_kinds",
        "is_accepted",
        "_config",
        "_causes",
        "_signs",
        "_implicated",
    )

    def __init__(self, config: WatchConfig, implicated: Implicated | None = None) -> None:
        self._config = config
        self._implicated = implicated
        self.process = self.sensors = WATCHING
        self.is_calm = True
        self.open_kinds: tuple[Kind, ...] = ()
        # The open incident has lasted so long that it is learnt as a new normal.
        self.is_accepted = False
        # Of the open incidents: why they opened, and what moved first.
        self._causes: dict[Kind, tuple[Cause, ...]] = {}
        self._signs: dict[Kind, FirstSign] = {}

    @property
    def is_learning_stopped(self) -> bool:
        """Something is wrong with the process, so that nothing counts as ordinary."""
        return self.process.is_open and not self.is_accepted

    def decide(
        self,
        reading: Reading,
        found: Found,
        surprise: float,
        looks: int,
        faulty: Sequence[WatchedSignal],
        signals: Iterable[WatchedSignal],
    ) -> tuple[Transition, ...]:
        """What this reading opens and clears. `signals` are all of the machine's present state, and `looks` as many as
        this reading has a verdict on."""
        transitions = self._decide_process(reading, found, surprise, looks, signals) + self._decide_sensors(
            reading, faulty
        )
        if transitions:
            states = ((Kind.PROCESS_ANOMALY, self.process), (Kind.SENSOR_FAULT, self.sensors))
            self.open_kinds = tuple(kind for kind, state in states if state.is_open)
        self.is_calm = self.process is WATCHING and self.sensors is WATCHING
        return transitions

    def _decide_process(
        self, reading: Reading, found: Found, surprise: float, looks: int, signals: Iterable[WatchedSignal]
    ) -> tuple[Transition, ...]:
        policy, before, at = self._config.process_policy, self.process, reading.observed_at
        price = price_of_looks(looks)
        for part, signal in found:
            # What this signal alone would have added to the machine's evidence.
            added = min(part - price, policy.reading_max) - policy.allowance
            if added > 0.0:
                if not signal.evidence:
                    signal.moved_at = at
                signal.evidence += added
            if part >= NEWS:
                signal.quality.is_news()
        self.process, phase = decide(policy, before, surprise, at)
        transitions: tuple[Transition, ...] = ()
        if phase is Phase.OPENED:
            self.is_accepted = False
            self._explain_process(reading, signals)
            transitions = (self._transition(Kind.PROCESS_ANOMALY, phase, policy, self.process),)
        elif phase is Phase.CLEARED:
            transitions = (self._transition(Kind.PROCESS_ANOMALY, phase, policy, before),)
        elif self.is_learning_stopped:
            self.is_accepted = at - self.process.first_seen >= self._config.accept_after_s * 1000
        if self.process is WATCHING and before is not WATCHING:
            for signal in signals:
                signal.forget_evidence()
        return transitions

    def _explain_process(self, reading: Reading, signals: Iterable[WatchedSignal]) -> None:
        """The signals by their part in the evidence since the incident began; the first sign is one of them."""
        watched: dict[str, list[WatchedSignal]] = {}
        for signal in self._without_followers(list(signals)):
            watched.setdefault(signal.name, []).append(signal)
        found = self._causes[Kind.PROCESS_ANOMALY] = causes(
            Suspect(
                name,
                sum(signal.evidence for signal in same),
                reading.signals.get(name),
                max(same, key=lambda signal: signal.evidence).expected() or (None, None),
            )
            for name, same in watched.items()
        )
        moved = [signal for cause in found for signal in watched[cause.signal] if signal.evidence > 0.0]
        if moved:
            # Of those that moved with the same reading the one with the largest part, which comes first.
            first = min(moved, key=lambda signal: signal.moved_at)
            self._signs[Kind.PROCESS_ANOMALY] = FirstSign(first.name, first.moved_at)

    def _without_followers(self, signals: list[WatchedSignal]) -> list[WatchedSignal]:
        """All but the deviations of signals that only follow one that misbehaves."""
        if self._implicated is None:
            return signals
        evidence = dict.fromkeys((signal.name for signal in signals if signal.is_deviation), 0.0)
        for signal in signals:
            if signal.name in evidence:
                evidence[signal.name] += signal.evidence
        suspects = [name for name, sum_of in evidence.items() if sum_of > 0.0]
        blamed = self._implicated(sorted(suspects, key=lambda name: -evidence[name]))
        return [signal for signal in signals if not signal.is_deviation or signal.name in blamed]

    def _decide_sensors(self, reading: Reading, faulty: Sequence[WatchedSignal]) -> tuple[Transition, ...]:
        policy, before = self._config.sensor_policy, self.sensors
        faults = [signal.quality.fault for signal in faulty]
        surprise = max((FAULT_SURPRISE[fault] for fault in faults if fault), default=0.0)
        self.sensors, phase = decide(policy, before, surprise, reading.observed_at)
        if before is WATCHING and faulty:
            self._signs[Kind.SENSOR_FAULT] = FirstSign(faulty[0].name, reading.observed_at)
        if phase is Phase.OPENED:
            self._causes[Kind.SENSOR_FAULT] = causes(
                Suspect(
                    signal.name,
                    1.0,
                    reading.signals.get(signal.name),
                    signal.quality.expected(signal.detector.expected()),
                    signal.quality.fault,
                )
                for signal in faulty
            )
        if phase is None:
            return ()
        return (self._transition(Kind.SENSOR_FAULT, phase, policy, self.sensors if phase is Phase.OPENED else before),)

    def _transition(self, kind: Kind, phase: Phase, policy: AlertPolicy, state: AlertState) -> Transition:
        if phase is Phase.OPENED:
            causes, sign = self._causes[kind], self._signs.get(kind)
        else:
            causes, sign = self._causes.pop(kind), self._signs.pop(kind, None)
        score = score_of(state.peak)
        return Transition(kind, phase, state.first_seen, severity(policy, state), score, causes, sign)

    def set_clock(self, at: EpochMs) -> None:
        """The device's clock was set back: calm begins again now."""
        self.process, self.sensors = (
            state if state.calm_since is None else state._replace(calm_since=at)
            for state in (self.process, self.sensors)
        )

    def state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "process": self.process,
            "sensors": self.sensors,
            "causes": self._causes,
            "signs": self._signs,
            "accepted": self.is_accepted,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`; KeyError, TypeError or ValueError where it is none."""
        self.process, self.sensors = _alert_state(state["process"]), _alert_state(state["sensors"])
        self.is_accepted = state["accepted"]
        self._causes = {
            Kind(kind): tuple(_cause(fields) for fields in causes) for kind, causes in state["causes"].items()
        }
        self._signs = {Kind(kind): FirstSign(*sign) for kind, sign in state.get("signs", {}).items()}
        self.open_kinds = tuple(kind for kind in Kind if kind in self._causes)
        self.is_calm = self.process is WATCHING and self.sensors is WATCHING


def _cause(fields: list[Any]) -> Cause:
    signal, share, observed, low, high, fault = fields
    return Cause(signal, share, observed, low, high, Fault(fault) if fault else None)


def _alert_state(fields: list[Any]) -> AlertState:
    # What is calm must be the very object that the quick path compares with.
    state = AlertState(*fields)
    return WATCHING if state == WATCHING else state
