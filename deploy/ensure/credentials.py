"""A device's key and certificate: issued once, in the primary region, and registered unchanged in the other one.

The private key exists in one file only and is never read back, printed or compared; what is compared is where the
certificate is attached. Whether a certificate is active belongs to the operator, who revokes it in both regions at once
(`deploy.revoke`). Provisioning never revives one: what is inactive in one region becomes inactive in the other.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from deploy.ensure.clients import Clients
from deploy.ensure.core import Resource, State, found
from deploy.topology import CERTIFICATE_FILE, PRIVATE_KEY_FILE

_MISSING: Final = "ResourceNotFoundException"
_PRIVATE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700
_ACTIVE: Final = "ACTIVE"
_INACTIVE: Final = "INACTIVE"


class MissingPrivateKey(Exception):
    """A certificate is attached whose key is not in the credentials folder. Keys cannot be fetched again."""


@dataclass(frozen=True)
class ThingCredentials(Resource):
    """Key pair and certificate of the thing `name`, in `folder`. The clients it is ensured with lead to the primary
    region, `dr` to the other one; the thing and the policy exist in both.

    `reissue` replaces an attached certificate whose key is not here (without it that raises MissingPrivateKey), and
    one that was revoked.
    """

    kind: ClassVar[str] = "thing_credentials"

    name: str
    policy: str
    folder: Path
    dr: Clients
    reissue: bool = False

    def desired(self) -> State:
        attached = {"policies": [self.policy], "things": [self.name]}
        return {
            "certificate_file": True,
            "dr": {**attached, "registered": True},
            "primary": attached,
            "private_key_mode": oct(_PRIVATE),
            "revoked_in_one_region_only": False,
        }

    def read(self, clients: Clients) -> State | None:
        arn = self._attached(clients)
        if arn is None:
            return None
        here = _describe(clients, _id(arn))
        there = found(lambda: _describe(self.dr, _id(arn)), _MISSING)
        return {
            "certificate_file": self._certificate_file.exists(),
            "dr": self._read_dr(there),
            "primary": _attachments(clients, arn),
            "private_key_mode": oct(self._key_file.stat().st_mode & 0o777),
            "revoked_in_one_region_only": there is not None and _is_active(here) != _is_active(there),
        }

    def create(self, clients: Clients) -> None:
        replaced = self._principals(clients)
        arn = self._known_certificate(clients) or self._issue(clients)
        _attach(clients, arn, self.name, self.policy)
        for old in replaced:
            for region in (clients, self.dr):
                _retire(region, _id(old))

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        certificate = _describe(clients, _id(self._attached(clients) or ""))
        if "private_key_mode" in fields:
            self._key_file.chmod(_PRIVATE)
        if "certificate_file" in fields:
            self._certificate_file.write_text(certificate["certificatePem"])
        if "primary" in fields:
            _attach(clients, certificate["certificateArn"], self.name, self.policy)
        if "dr" in fields:
            self._register(certificate)
        if "revoked_in_one_region_only" in fields:
            for region in (clients, self.dr):
                _deactivate(region, certificate["certificateId"])

    def delete(self, clients: Clients) -> None:
        """In both regions, and the files: without its certificate a key opens nothing."""
        for arn in self._principals(clients):
            for region in (clients, self.dr):
                _retire(region, _id(arn))
                _delete(region, _id(arn))
        self._key_file.unlink(missing_ok=True)
        self._certificate_file.unlink(missing_ok=True)

    @property
    def _certificate_file(self) -> Path:
        return self.folder / self.name / CERTIFICATE_FILE

    @property
    def _key_file(self) -> Path:
        return self.folder / self.name / PRIVATE_KEY_FILE

    def _principals(self, clients: Clients) -> list[str]:
        pages = clients("iot").get_paginator("list_thing_principals")
        read = found(
            lambda: [arn for page in pages.paginate(thingName=self.name) for arn in page["principals"]], _MISSING
        )
        return [arn for arn in read or () if ":cert/" in arn]

    def _attached(self, clients: Clients) -> str | None:
        """The attached certificate whose key is here; None where one has to be issued."""
        principals = self._principals(clients)
        ours = [arn for arn in principals if self._local_id() in (_id(arn), None)]
        if self._key_file.exists() and len(ours) == 1:
            return None if self._to_replace(_describe(clients, _id(ours[0]))) else ours[0]
        if principals and not self.reissue:
            raise MissingPrivateKey(
                f"thing {self.name} has certificate {_id(principals[0])[:12]}... attached in {clients.region}, but its "
                f"private key is not in {self._key_file.parent}: bring it, or ask for a new certificate explicitly"
            )
        return None

    def _local_id(self) -> str | None:
        """IoT Core names a certificate by the SHA-256 of its DER form."""
        if not self._certificate_file.exists():
            return None
        der = ssl.PEM_cert_to_DER_cert(self._certificate_file.read_text())
        return hashlib.sha256(der).hexdigest()

    def _known_certificate(self, clients: Clients) -> str | None:
        """The one on disk, where the region knows it: a run that stopped before attaching it goes on with it."""
        local = self._local_id()
        if local is None or not self._key_file.exists():
            return None
        known = found(lambda: _describe(clients, local), _MISSING)
        if known is None or self._to_replace(known):
            return None
        return str(known["certificateArn"])

    def _to_replace(self, certificate: Mapping[str, Any]) -> bool:
        return self.reissue and not _is_active(certificate)

    def _issue(self, clients: Clients) -> str:
        """Active only once its key is on disk: a run that stops in between leaves nothing that opens anything."""
        iot = clients("iot")
        issued = iot.create_keys_and_certificate(setAsActive=False)
        self._set_aside_old_files()
        _write_private(self._key_file, issued["keyPair"]["PrivateKey"])
        _write_private(self._certificate_file, issued["certificatePem"])
        iot.update_certificate(certificateId=issued["certificateId"], newStatus=_ACTIVE)
        return str(issued["certificateArn"])

    def _set_aside_old_files(self) -> None:
        """They belong to another account or to a region that was reset; nobody's key is overwritten."""
        self.folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        self._key_file.parent.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        self._key_file.parent.chmod(_PRIVATE_FOLDER)
        mark = (self._local_id() or "unknown")[:12]
        for file in (self._key_file, self._certificate_file):
            if file.exists():
                file.rename(file.with_name(f"{file.name}.replaced-{mark}"))

    def _read_dr(self, certificate: dict[str, Any] | None) -> State:
        if certificate is None:
            return {"policies": [], "registered": False, "things": []}
        return {"registered": True, **_attachments(self.dr, certificate["certificateArn"])}

    def _register(self, certificate: dict[str, Any]) -> None:
        known = found(lambda: _describe(self.dr, certificate["certificateId"]), _MISSING)
        if known is None:
            status = _ACTIVE if _is_active(certificate) else _INACTIVE
            pem = certificate["certificatePem"]
            known = self.dr("iot").register_certificate_without_ca(certificatePem=pem, status=status)
        _attach(self.dr, known["certificateArn"], self.name, self.policy)


def _id(arn: str) -> str:
    return arn.rpartition("/")[2]


def _describe(clients: Clients, certificate_id: str) -> dict[str, Any]:
    return dict(clients("iot").describe_certificate(certificateId=certificate_id)["certificateDescription"])


def _is_active(certificate: Mapping[str, Any]) -> bool:
    return bool(certificate["status"] == _ACTIVE)


def _deactivate(clients: Clients, certificate_id: str) -> None:
    clients("iot").update_certificate(certificateId=certificate_id, newStatus=_INACTIVE)


def _attachments(clients: Clients, arn: str) -> State:
    iot = clients("iot")
    policies = iot.get_paginator("list_attached_policies").paginate(target=arn)
    things = iot.get_paginator("list_principal_things").paginate(principal=arn)
    return {
        "policies": sorted(each["policyName"] for page in policies for each in page["policies"]),
        "things": sorted(name for page in things for name in page["things"]),
    }


def _attach(clients: Clients, arn: str, thing: str, policy: str) -> None:
    """To this thing and this policy, and to no others: one certificate is one device."""
    iot, present = clients("iot"), _attachments(clients, arn)
    for other in present["policies"]:
        if other != policy:
            iot.detach_policy(policyName=other, target=arn)
    for other in present["things"]:
        if other != thing:
            iot.detach_thing_principal(thingName=other, principal=arn)
    if policy not in present["policies"]:
        iot.attach_policy(policyName=policy, target=arn)
    if thing not in present["things"]:
        iot.attach_thing_principal(thingName=thing, principal=arn)


def _retire(clients: Clients, certificate_id: str) -> None:
    """Inactive first: that ends a live session, detaching alone does not."""
    iot = clients("iot")
    certificate = found(lambda: _describe(clients, certificate_id), _MISSING)
    if certificate is None:
        return
    _deactivate(clients, certificate_id)
    arn = certificate["certificateArn"]
    present = _attachments(clients, arn)
    for policy in present["policies"]:
        iot.detach_policy(policyName=policy, target=arn)
    for thing in present["things"]:
        iot.detach_thing_principal(thingName=thing, principal=arn)


def _delete(clients: Clients, certificate_id: str) -> None:
    iot = clients("iot")
    found(lambda: iot.delete_certificate(certificateId=certificate_id), _MISSING)


def _write_private(path: Path, content: str) -> None:
    """Never readable by others, not even while it is written; never over an existing file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
