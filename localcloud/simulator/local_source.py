"""A sensor driver on the gateway: publishes readings on local topics, as another Greengrass component would.

It sends again what is not acknowledged, so that neither a killed edge component nor a restarted nucleus loses or
doubles a reading.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from edge_component.nucleus import Nucleus, NucleusAddress, NucleusUnavailable, Payload
from edge_component.settings import ACKS_TOPIC, TELEMETRY_FILTER
from localcloud.simulator.outstanding import Outstanding
from plantwatch.ports import DeliveryFailed
from plantwatch.telemetry import InvalidReading, RejectionReason

logger = logging.getLogger(__name__)

# What one Python process has in flight at 1,500 readings/s and an acknowledgement after a second.
WINDOW_READINGS: Final = 2_000
_RECONNECT_S: Final = 0.5
_GATHER_S: Final = 0.01

ACCESS_CONTROL: Final[Mapping[str, Any]] = {
    "aws.greengrass.ipc.pubsub": {
        "simulator:pubsub:1": {
            "operations": ["aws.greengrass#PublishToTopic", "aws.greengrass#SubscribeToTopic"],
            "resources": ["plantwatch/*"],
        }
    }
}
"""What the nucleus must allow this source."""


class LocalSource:
    """`address` is the nucleus's socket and the token that its configuration gives to this visitor.

    `resend_after_s` must be longer than the edge component lingers. Use as a context manager, from any threads.
    """

    def __init__(self, address: NucleusAddress, *, window: int = WINDOW_READINGS, resend_after_s: float = 3.0) -> None:
        # A source that starts anew numbers anew, under a new name.
        self.name = f"source-{secrets.token_hex(4)}"
        self.refused: Counter[RejectionReason] = Counter()
        self._address = address
        self._window = window
        self._resend_after_s = resend_after_s
        self._outstanding = Outstanding(self.name)
        self._changed = threading.Condition()  # guards _outstanding and _progress_at
        self._progress_at = time.monotonic()
        self._lost = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def __enter__(self) -> LocalSource:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def send(self, device: str, fields: Mapping[str, Any], *, timeout_s: float = 60.0) -> None:
        """Queue one reading; waits while the window is full. DeliveryFailed where it stays full; InvalidReading, noted
        in `refused`, where it is larger than the local bus takes: nobody would ever acknowledge it."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._outstanding) < self._window, timeout_s):
                raise DeliveryFailed(f"no acknowledgement from the edge component for {timeout_s:g} s")
            if not self._outstanding:
                self._progress_at = time.monotonic()
            try:
                self._outstanding.add(device, fields)
            except InvalidReading as error:
                self.refused[error.reason] += 1
                raise
            self._changed.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Wait until the edge component has everything safe on disk; False where it has not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._outstanding, timeout_s)

    def _run(self) -> None:
        while not self._stopping:
            try:
                nucleus = self._connect()
            except NucleusUnavailable as error:
                logger.info("%s: %s", self.name, error)
                time.sleep(_RECONNECT_S)
                continue
            try:
                self._serve(nucleus)
            finally:
                nucleus.close()

    def _connect(self) -> Nucleus:
        self._lost.clear()
        nucleus = Nucleus(self._address, on_lost=self._lost.set)
        try:
            nucleus.subscribe(ACKS_TOPIC, self._acknowledged)
        except NucleusUnavailable:
            nucleus.close()
            raise
        with self._changed:
            self._outstanding.rewind()
        return nucleus

    def _serve(self, nucleus: Nucleus) -> None:
        while not self._stopping and not self._lost.is_set():
            for device, payload in self._next_messages():
                nucleus.publish_local(TELEMETRY_FILTER.replace("+", device), payload, self._log_failure)

    def _next_messages(self) -> list[tuple[str, bytes]]:
        """What to send now; waits a little for company, or until a resend is due."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or not self._outstanding.all_sent, self._resend_after_s)
        time.sleep(_GATHER_S)
        with self._changed:
            if self._outstanding and time.monotonic() - self._progress_at > self._resend_after_s:
                self._outstanding.rewind()
                self._progress_at = time.monotonic()
            return list(self._outstanding.messages())

    def _acknowledged(self, _topic: str, payload: Payload) -> None:
        document = json.loads(payload) if isinstance(payload, bytes) else payload
        if document["source"] != self.name:
            return
        with self._changed:
            before = len(self._outstanding)
            for device, sequence in document["acks"].items():
                self._outstanding.acknowledge(device, sequence)
            if len(self._outstanding) < before:
                self._progress_at = time.monotonic()
            self._changed.notify_all()

    def _log_failure(self, error: DeliveryFailed | None) -> None:
        if error is not None:
            logger.warning("%s: %s", self.name, error)
