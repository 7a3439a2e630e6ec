"""Puts the component together from its settings. Everything that it starts, it stops."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from edge_component import checkpoint, status
from edge_component.clock import now_ms
from edge_component.connectors.source import Source
from edge_component.inbox import Inbox
from edge_component.intake import Intake, contents, declarations
from edge_component.legs import Leg, LegLimits, Transport
from edge_component.mqtt import MqttEndpoint
from edge_component.nucleus import Nucleus
from edge_component.numbering import Numbering
from edge_component.settings import STATUS_TOPIC, EdgeSettings
from edge_component.spool import Spool
from edge_component.spool_file import Range
from edge_component.state_lock import StateLock
from edge_component.transports import IpcTransport, MqttTransport
from edge_component.worker import CHECKPOINT_FILE, Worker
from plantwatch.bundle.runtime import watching
from plantwatch.pipeline import Pipeline
from plantwatch.ports import DeliveryFailed

logger = logging.getLogger(__name__)

PRIMARY: Final = "primary"
DR: Final = "dr"
SPOOL_FILE: Final = "spool.db"
# Longer than a predecessor tries to reach its lost nucleus.
_LOCK_TIMEOUT_S: Final = 30.0


class EdgeComponent:
    """One run with one set of settings, on readings from `inbox`. `on_failed` is called, maybe more than once and from
    any thread, where it cannot go on."""

    def __init__(
        self, settings: EdgeSettings, nucleus: Nucleus, inbox: Inbox, *, on_failed: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._nucleus = nucleus
        self._inbox = inbox
        self._on_failed = on_failed
        self._machines = watching(settings.bundle_path, settings.maintenance_path)
        self._lock = StateLock(settings.state_dir, _LOCK_TIMEOUT_S)
        self._dr = self._dr_transport() if settings.dr_enabled else None
        self._spool = Spool(
            settings.state_dir / SPOOL_FILE,
            legs=[PRIMARY, DR] if self._dr else [PRIMARY],
            bytes_max=settings.spool_bytes_max,
            rejected_rows_max=settings.rejected_rows_max,
            age_s_max=settings.spool_age_s_max,
            contents=lambda payload: contents(payload, tenant=settings.tenant, gateway=settings.gateway),
            declare=self._declare,
        )
        self._numbering = Numbering(last_taken=self._spool.last_taken, last_numbered=self._spool.last_numbered)
        self._intake = Intake(
            Pipeline(self._machines, tenant=settings.tenant),
            self._numbering,
            gateway=settings.gateway,
            epoch=self._spool.epoch,
            batch_bytes_max=settings.batch_bytes_max,
        )
        self._legs = {leg.leg: leg for leg in self._make_legs()}
        self._sources = self._make_sources()
        self._worker = Worker(
            settings,
            self._inbox,
            self._intake,
            self._spool,
            self._machines,
            publish_local=self._publish_local,
            on_committed=self._wake_legs,
            report=self._report,
            on_failed=on_failed,
        )

    def start(self) -> None:
        warm = checkpoint.restore(self._settings.state_dir / CHECKPOINT_FILE, self._machines)
        logger.info(
            "epoch %d, bundle %s, %d machines known, %s start",
            self._spool.epoch, self._machines.bundle, len(self._machines), "warm" if warm else "cold",
        )  # fmt: skip
        if self._dr:
            self._dr.start()
        for leg in self._legs.values():
            leg.start()
        self._worker.start()
        for source in self._sources:
            source.start()
        self._nucleus.report_running()

    def stop(self) -> None:
        """What had arrived is on disk when this returns; what the legs had no time to send waits for the next start.
        Also after a `start` that failed half-way."""
        for source in self._sources:
            source.stop()
        self._worker.stop()
        for leg in self._legs.values():
            leg.stop()
        for leg in self._legs.values():
            if leg.ident is not None:
                leg.join()
        if self._dr:
            self._dr.stop()
        self._spool.close()
        self._lock.release()

    def _declare(self, ranges: Sequence[Range]) -> list[bytes]:
        return declarations(ranges, epoch=self._spool.epoch, bundle=self._machines.bundle)

    def _dr_transport(self) -> MqttTransport:
        settings = self._settings
        endpoint = MqttEndpoint(
            settings.dr_host,
            settings.dr_port,
            settings.dr_client_id or settings.gateway,
            settings.dr_certificate_path,
            settings.dr_key_path,
            settings.dr_ca_path,
        )
        return MqttTransport(
            endpoint,
            tenant=settings.tenant,
            thing=settings.gateway,
            ack_timeout_s=settings.publish_timeout_s,
            backoff_s=(settings.backoff_s_min, settings.backoff_s_max),
            on_connection=lambda _: self._legs[DR].wake(),
        )

    def _make_sources(self) -> list[Source]:
        if not self._settings.connectors:
            return []
        # Only gateways with connectors pay for what those load (asyncio).
        from edge_component.connectors.build import connector

        return [connector(one, self._inbox, self._settings.state_dir) for one in self._settings.connectors]

    def _make_legs(self) -> list[Leg]:
        settings = self._settings
        ipc = IpcTransport(self._nucleus, tenant=settings.tenant, gateway=settings.gateway)
        legs = [self._make_leg(PRIMARY, ipc, settings.primary_in_flight_bytes_max)]
        if self._dr:
            legs.append(self._make_leg(DR, self._dr, settings.dr_in_flight_bytes_max))
        return legs

    def _make_leg(self, name: str, transport: Transport, in_flight_bytes_max: int) -> Leg:
        settings = self._settings
        limits = LegLimits(
            in_flight_bytes_max=in_flight_bytes_max,
            publish_timeout_s=settings.publish_timeout_s,
            backoff_s=(settings.backoff_s_min, settings.backoff_s_max),
        )
        return Leg(name, self._spool, transport, limits, on_failed=self._on_failed)

    def _wake_legs(self) -> None:
        for leg in self._legs.values():
            leg.wake()

    def _publish_local(self, topic: str, payload: bytes) -> None:
        self._nucleus.publish_local(topic, payload, partial(_log_failure, topic))

    def _report(self) -> None:
        report = status.Status(
            gateway=self._settings.gateway,
            epoch=self._spool.epoch,
            bundle=self._machines.bundle,
            at=now_ms(),
            counts=self._intake.counts,
            inbox_refused=self._inbox.refused,
            rejected=self._spool.rejected(),
            dropped=self._spool.dropped(),
            legs={name: leg.health() for name, leg in self._legs.items()},
            devices=self._numbering.take_moved(),
            sources={source.name: source.health() for source in self._sources},
        )
        for message in status.encode(report):
            self._publish_local(STATUS_TOPIC, message)


def _log_failure(topic: str, error: DeliveryFailed | None) -> None:
    if error is not None:
        logger.warning("%s: %s", topic, error)
