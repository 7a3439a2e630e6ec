"""A device that is let in no longer: none of its certificates is active."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from deploy.ensure.clients import Clients
from deploy.ensure.core import Resource, State, found
from deploy.ensure.iot import BelongsToAnother

_MISSING: Final = "ResourceNotFoundException"


class UnknownThing(Exception):
    """No thing of that name is registered there: nothing was revoked."""


@dataclass(frozen=True)
class Revocation(Resource):
    """Of the thing `name`, which is `tenant`'s: every certificate that is attached to it in the region is inactive.

    They stay attached: provisioning then knows that the device is revoked, and issues no other certificate by itself.
    Raises UnknownThing, BelongsToAnother.
    """

    kind: ClassVar[str] = "revocation"

    name: str
    tenant: str

    def desired(self) -> State:
        return {"active_certificates": []}

    def read(self, clients: Clients) -> State:
        thing = found(lambda: clients("iot").describe_thing(thingName=self.name), _MISSING)
        if thing is None:
            raise UnknownThing(f"no thing {self.name} in {clients.region}")
        if (owner := thing.get("attributes", {}).get("tenant")) != self.tenant:
            raise BelongsToAnother(f"thing {self.name} in {clients.region} belongs to tenant {owner}")
        return {"active_certificates": self._active(clients)}

    def create(self, clients: Clients) -> None:
        raise AssertionError(f"a revocation is always read: {self.name} in {clients.region}")

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        for certificate_id in self._active(clients) if "active_certificates" in fields else ():
            clients("iot").update_certificate(certificateId=certificate_id, newStatus="INACTIVE")

    def delete(self, clients: Clients) -> None:
        raise AssertionError(f"a revocation is never taken back: {self.name} in {clients.region}")

    def _active(self, clients: Clients) -> list[str]:
        iot = clients("iot")
        pages = iot.get_paginator("list_thing_principals").paginate(thingName=self.name)
        ids = [arn.rpartition("/")[2] for page in pages for arn in page["principals"] if ":cert/" in arn]
        described = [iot.describe_certificate(certificateId=each)["certificateDescription"] for each in sorted(ids)]
        return [each["certificateId"] for each in described if each["status"] == "ACTIVE"]
