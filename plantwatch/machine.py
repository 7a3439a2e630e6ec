"""The machines that one runtime watches: check and score each reading, decide, and keep all that in bounded memory.

A machine is one device. Each of its signals has a process detector and its sensor's quality checks; the machine has
one alert state per kind of incident. Only observed time counts: a learning phase faster than real time, a replay of
last year and a live gateway take the same path with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

from plantwatch import native, snapshot
from plantwatch.bundle.model import Bundle
from plantwatch.detectors.base import SURPRISE_MAX, score_of
from plantwatch.detectors.prior import Prior, judgement_digest
from plantwatch.explain import Suspect, causes, price_of_looks
from plantwatch.incident import Cause, Fault, Kind, Phase, Transition
from plantwatch.policy import WATCHING, AlertPolicy, AlertState, decide, severity
from plantwatch.scoring import ScoredReading, SensorFault
from plantwatch.telemetry import SIGNALS_MAX, EpochMs, Reading
from plantwatch.watch_config import WatchConfig
from plantwatch.watched_signal import WatchedSignal, ready_in_s, shares_of, strangest

__all__ = ["MACHINES_MAX", "Machine", "Machines", "WatchConfig", "WatchCounts"]

# Twice the largest plant planned for one gateway or shard (5,000 machines); at about 16 KB a machine of 4 signals.
MACHINES_MAX: Final = 10_000
# A stuck or silent sensor is certain at once; an impossible value needs three in a row to be more than a glitch.
FAULT_SURPRISE: Final = {
    Fault.STUCK: SURPRISE_MAX,
    Fault.GAP: SURPRISE_MAX,
    Fault.NOT_FINITE: SURPRISE_MAX,
    Fault.OUT_OF_RANGE: 5.0,
}
# A value that strange is news in itself, so that its repetition says nothing about the sensor.
_NEWS: Final = 4.0
# Readings older than the newest in a row, after which we believe that the clock was set back; stragglers are fewer.
_LATE_IN_A_ROW_MAX: Final = 50


@dataclass(slots=True)
class WatchCounts:
    """What was left out, so that no limit works in silence."""

    evicted_machines: int = 0
    evicted_signals: int = 0
    late_readings: int = 0


class Machine:
    """One device: its signals, and its alert state of each kind."""

    __slots__ = (
        "signals", "newest", "_received_at", "_config", "_counts", "_priors", "_bundle", "_late_in_a_row",
        "_learning", "_process", "_sensors", "_causes", "_open_kinds", "_accepted", "_panel",
    )  # fmt: skip

    def __init__(self, config: WatchConfig, counts: WatchCounts, priors: Mapping[str, Prior], bundle: str) -> None:
        self._config = config
        self._priors = priors
        self._bundle = bundle
        self._counts = counts
        self.signals: dict[str, WatchedSignal] = {}
        self.newest: EpochMs = 0
        self._received_at: EpochMs = 0
        self._late_in_a_row = 0
        # No detector has left its warm-up yet.
        self._learning = True
        self._process = self._sensors = WATCHING
        # Of the open incidents: why they opened.
        self._causes: dict[Kind, tuple[Cause, ...]] = {}
        self._open_kinds: tuple[Kind, ...] = ()
        # The open incident has lasted so long that it is learnt as a new normal.
        self._accepted = False
        self._panel = native.panel()

    def watch(self, reading: Reading) -> ScoredReading:
        """Check, score, learn, decide. A reading older than the machine's newest is scored, and changes nothing."""
        at = reading.observed_at
        if at < self.newest and self._is_straggler(reading):
            return self._score_late(reading)
        self.newest = at
        self._received_at = reading.received_at
        self._late_in_a_row = 0
        fed: list[WatchedSignal] = []
        values: list[float] = []
        faulty: list[WatchedSignal] = []
        signals = self.signals
        for name, value in reading.signals.items():
            signal = signals.get(name) or self._meet(name)
            if signal.check(value, at):
                fed.append(signal)
                values.append(value)
            elif signal.quality.fault is not None:
                faulty.append(signal)
        if reading.missing:
            faulty += self._check_missing(reading)
        surprises = self._step(fed, values)
        found = [pair for pair in zip(surprises, fed, strict=True) if pair[0] > 0.0] if surprises else []
        if self._learning:
            self._learning = all(signal.detector.warming_up for signal in signals.values())
        if not found and not faulty and self._process is WATCHING and self._sensors is WATCHING:
            return ScoredReading(reading, 0.0, (), (), (), (), self._learning, self._bundle, self._ready_in_s())
        return self._decide(reading, found, faulty)

    def _step(self, fed: list[WatchedSignal], values: list[float]) -> Sequence[float]:
        """The surprises of these values, which are learnt; may be empty where all are 0."""
        if self._panel is not None:
            handles = [signal.handle for signal in fed]
            if all(handles):
                return self._panel(handles, values)
        surprises = [signal.step(value) for signal, value in zip(fed, values, strict=True)]
        for signal in fed:
            signal.handle = signal.detector.handle
        return surprises

    def _decide(
        self, reading: Reading, found: list[tuple[float, WatchedSignal]], faulty: list[WatchedSignal]
    ) -> ScoredReading:
        """The path of readings with anything to report, and of those that follow until all is calm again."""
        surprise = strangest(found, len(reading.signals))
        transitions = self._decide_process(reading, found, surprise) + self._decide_sensors(reading, faulty)
        if transitions:
            states = ((Kind.PROCESS_ANOMALY, self._process), (Kind.SENSOR_FAULT, self._sensors))
            self._open_kinds = tuple(kind for kind, state in states if state.is_open)
        return ScoredReading(
            reading,
            score_of(surprise),
            shares_of(found) if surprise > 0.0 else (),
            tuple(SensorFault(signal.name, signal.quality.fault) for signal in faulty if signal.quality.fault),
            self._open_kinds,
            transitions,
            self._learning,
            self._bundle,
            self._ready_in_s(),
        )

    def _decide_process(
        self, reading: Reading, found: list[tuple[float, WatchedSignal]], surprise: float
    ) -> tuple[Transition, ...]:
        policy, before = self._config.process_policy, self._process
        looks = price_of_looks(len(reading.signals))
        for part, signal in found:
            # What this signal alone would have added to the machine's evidence.
            signal.evidence += max(0.0, min(part - looks, policy.reading_max) - policy.allowance)
            if part >= _NEWS:
                signal.quality.is_news()
        state, phase = decide(policy, before, surprise, reading.observed_at)
        self._process = state
        transitions: tuple[Transition, ...] = ()
        if phase is Phase.OPENED:
            self._causes[Kind.PROCESS_ANOMALY] = self._process_causes(reading)
            transitions = (self._transition(Kind.PROCESS_ANOMALY, phase, policy, state),)
            self._stop_learning()
        elif phase is Phase.CLEARED:
            transitions = (self._transition(Kind.PROCESS_ANOMALY, phase, policy, before),)
            self._learn_again()
        elif state.is_open and not self._accepted:
            self._accept_in_time(reading.observed_at)
        if state is WATCHING and before is not WATCHING:
            for signal in self.signals.values():
                signal.evidence = 0.0
        return transitions

    def _decide_sensors(self, reading: Reading, faulty: list[WatchedSignal]) -> tuple[Transition, ...]:
        policy, before = self._config.sensor_policy, self._sensors
        faults = [signal.quality.fault for signal in faulty]
        surprise = max((FAULT_SURPRISE[fault] for fault in faults if fault), default=0.0)
        self._sensors, phase = decide(policy, before, surprise, reading.observed_at)
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
        return (self._transition(Kind.SENSOR_FAULT, phase, policy, self._sensors if phase is Phase.OPENED else before),)

    def _transition(self, kind: Kind, phase: Phase, policy: AlertPolicy, state: AlertState) -> Transition:
        causes = self._causes[kind] if phase is Phase.OPENED else self._causes.pop(kind)
        return Transition(kind, phase, state.first_seen, severity(policy, state), score_of(state.peak), causes)

    def _process_causes(self, reading: Reading) -> tuple[Cause, ...]:
        """The signals by their part in the evidence since the incident began."""
        return causes(
            Suspect(
                signal.name,
                signal.evidence,
                reading.signals.get(signal.name),
                signal.detector.expected() or (None, None),
            )
            for signal in self.signals.values()
        )

    def _stop_learning(self) -> None:
        self._accepted = False
        for signal in self.signals.values():
            signal.detector.freeze()

    def _learn_again(self) -> None:
        for signal in self.signals.values():
            signal.detector.thaw()

    def _accept_in_time(self, at: EpochMs) -> None:
        if at - self._process.first_seen >= self._config.accept_after_s * 1000:
            self._accepted = True
            self._learn_again()

    def _check_missing(self, reading: Reading) -> list[WatchedSignal]:
        faulty = []
        for name in reading.missing:
            signal = self.signals.get(name) or self._meet(name)
            signal.quality.check_missing(reading.observed_at)
            if signal.quality.fault is not None:
                faulty.append(signal)
        return faulty

    def _is_straggler(self, reading: Reading) -> bool:
        """Whether an old reading is merely late, or a repeat of what was received before.

        After many late ones in a row that are received for the first time, the device's clock was set back, and we
        follow it.
        """
        self._counts.late_readings += 1
        if reading.received_at <= self._received_at:
            return True
        self._late_in_a_row += 1
        if self._late_in_a_row <= _LATE_IN_A_ROW_MAX:
            return True
        at = reading.observed_at
        for signal in self.signals.values():
            signal.quality.set_clock(at)
        self._process, self._sensors = (
            state if state.calm_since is None else state._replace(calm_since=at)
            for state in (self._process, self._sensors)
        )
        return False

    def _score_late(self, reading: Reading) -> ScoredReading:
        known = [(self.signals[name], value) for name, value in reading.signals.items() if name in self.signals]
        scored = [(signal.detector.score_one(value), signal) for signal, value in known]
        found = [(surprise, signal) for surprise, signal in scored if surprise > 0.0]
        surprise = strangest(found, len(reading.signals))
        parts = shares_of(found) if surprise > 0.0 else ()
        score = score_of(surprise)
        wait = self._ready_in_s()
        return ScoredReading(reading, score, parts, (), self._open_kinds, (), self._learning, self._bundle, wait)

    def _ready_in_s(self) -> int | None:
        return ready_in_s(self.signals.values()) if self._learning else None

    def _meet(self, name: str) -> WatchedSignal:
        """A signal not seen before; beyond the limit the longest silent one makes room."""
        if len(self.signals) >= SIGNALS_MAX:
            silent = min(self.signals.values(), key=lambda signal: signal.quality.last_at)
            del self.signals[silent.name]
            self._counts.evicted_signals += 1
        signal = self.signals[name] = WatchedSignal(name, self._config, self._priors.get(name))
        return signal

    def state(self) -> dict[str, Any]:
        return {
            "newest": self.newest,
            "received_at": self._received_at,
            "late_in_a_row": self._late_in_a_row,
            "learning": self._learning,
            "process": self._process,
            "sensors": self._sensors,
            "causes": self._causes,
            "accepted": self._accepted,
            "signals": {
                name: [signal.quality.state(), signal.detector.state(), signal.evidence]
                for name, signal in self.signals.items()
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`; KeyError, TypeError or ValueError where it is none."""
        self.newest, self._received_at = state["newest"], state["received_at"]
        self._late_in_a_row = state["late_in_a_row"]
        self._learning, self._accepted = state["learning"], state["accepted"]
        self._process, self._sensors = _alert_state(state["process"]), _alert_state(state["sensors"])
        self._causes = {
            Kind(kind): tuple(_cause(fields) for fields in causes) for kind, causes in state["causes"].items()
        }
        self._open_kinds = tuple(kind for kind in Kind if kind in self._causes)
        for name, (quality, detector, evidence) in state["signals"].items():
            signal = self.signals[name] = WatchedSignal(name, self._config, self._priors.get(name))
            signal.quality.restore(quality)
            signal.detector.restore(detector)
            signal.evidence = evidence


def _cause(fields: list[Any]) -> Cause:
    signal, share, observed, low, high, fault = fields
    return Cause(signal, share, observed, low, high, Fault(fault) if fault else None)


def _alert_state(fields: list[Any]) -> AlertState:
    # What is calm must be the very object that the quick path compares with.
    state = AlertState(*fields)
    return WATCHING if state == WATCHING else state


class Machines:
    """The machines of one runtime, found by tenant and device; the longest silent one makes room for a new one."""

    def __init__(
        self,
        config: WatchConfig | None = None,
        machines_max: int = MACHINES_MAX,
        priors: Mapping[str, Prior] = MappingProxyType({}),
    ) -> None:
        if machines_max < 1:
            raise ValueError(f"machines_max is {machines_max}; it must be at least 1")
        self.config = config or WatchConfig()
        self.priors = priors
        self.bundle = judgement_digest(self.config.digest, priors)
        self.machines_max = machines_max
        self.counts = WatchCounts()
        self._machines: dict[tuple[str, str], Machine] = {}

    @classmethod
    def of(cls, bundle: Bundle, machines_max: int = MACHINES_MAX) -> Machines:
        """Machines judged by a bundle; each begins with what the bundle knows of its signals."""
        return cls(bundle.config, machines_max, bundle.priors)

    def __len__(self) -> int:
        return len(self._machines)

    def watch(self, reading: Reading) -> ScoredReading:
        """One reading of one machine, in the order of its arrival."""
        machine = self._machines.get((reading.tenant, reading.device))
        if machine is None:
            machine = self._meet(reading)
        return machine.watch(reading)

    def _meet(self, reading: Reading) -> Machine:
        if len(self._machines) >= self.machines_max:
            silent = min(self._machines, key=lambda key: self._machines[key].newest)
            del self._machines[silent]
            self.counts.evicted_machines += 1
        machine = self._machines[reading.tenant, reading.device] = Machine(
            self.config, self.counts, self.priors, self.bundle
        )
        return machine

    def snapshot(self) -> bytes:
        """The memory of all machines, for `restore` in a later life or another runtime."""
        return snapshot.pack(
            self.bundle,
            ({"device": key, **machine.state()} for key, machine in self._machines.items()),
        )

    def restore(self, *snapshots: bytes) -> None:
        """Go on from a snapshot: replaces what was known. ValueError says why it cannot, and then nothing changed.

        From several (of shards that became one) the machines of all; one that is in two, as it was last.
        """
        machines: dict[tuple[str, str], Machine] = {}
        try:
            for state in chain.from_iterable(snapshot.unpack(data, bundle=self.bundle) for data in snapshots):
                tenant, device = state["device"]
                machine = Machine(self.config, self.counts, self.priors, self.bundle)
                machine.restore(state)
                known = machines.get((tenant, device))
                if known is None or known.newest < machine.newest:
                    machines[tenant, device] = machine
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a machine's state is not as expected: {error!r}") from None
        if len(machines) > self.machines_max:
            raise ValueError(f"the snapshot holds {len(machines)} machines, the limit is {self.machines_max}")
        self._machines = machines
