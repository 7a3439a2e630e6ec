"""Buckets: versioned, encrypted, closed to the public, without object ACLs, and tidied by a life cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from deploy.ensure.clients import Clients
from deploy.ensure.core import Resource, State, found
from deploy.ensure.documents import managed_tags, policy, tag_list, text

_PUBLIC_ACCESS: Final = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
# us-east-1 is the one region that refuses its own name as LocationConstraint.
_REGION_WITHOUT_CONSTRAINT: Final = "us-east-1"


@dataclass(frozen=True)
class Bucket(Resource):
    kind: ClassVar[str] = "s3_bucket"

    name: str
    policy: Mapping[str, Any]
    lifecycle: tuple[Mapping[str, Any], ...]
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return {
            "encryption": "AES256",
            "lifecycle": [dict(rule) for rule in self.lifecycle],
            "object_ownership": "BucketOwnerEnforced",
            "policy": policy(self.policy),
            "public_access_block": dict.fromkeys(_PUBLIC_ACCESS, True),
            "tags": dict(self.tags),
            "versioning": "Enabled",
        }

    def read(self, clients: Clients) -> State | None:
        s3 = clients("s3")
        if found(lambda: s3.head_bucket(Bucket=self.name), "404", "NoSuchBucket") is None:
            return None
        return {
            "encryption": self._encryption(s3),
            "lifecycle": self._lifecycle(s3),
            "object_ownership": self._ownership(s3),
            "policy": self._policy(s3),
            "public_access_block": self._public_access_block(s3),
            "tags": self._tags(s3),
            "versioning": s3.get_bucket_versioning(Bucket=self.name).get("Status"),
        }

    def create(self, clients: Clients) -> None:
        options: dict[str, Any] = {"Bucket": self.name, "ObjectOwnership": "BucketOwnerEnforced"}
        if clients.region != _REGION_WITHOUT_CONSTRAINT:
            options["CreateBucketConfiguration"] = {"LocationConstraint": clients.region}
        clients("s3").create_bucket(**options)

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        s3, bucket, wanted = clients("s3"), self.name, self.desired()
        if "public_access_block" in fields:
            s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=wanted["public_access_block"])
        if "object_ownership" in fields:
            rules = [{"ObjectOwnership": wanted["object_ownership"]}]
            s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": rules})
        if "encryption" in fields:
            rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": wanted["encryption"]}}
            s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
        if "versioning" in fields:
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": wanted["versioning"]})
        if "policy" in fields:
            s3.put_bucket_policy(Bucket=bucket, Policy=text(self.policy))
        if "lifecycle" in fields:
            s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": wanted["lifecycle"]})
        if "tags" in fields:
            tags = {**self._all_tags(s3), **self.tags}
            s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tag_list(tags)})

    def delete(self, clients: Clients) -> None:
        """With every version and delete marker: the caller asked for it by name."""
        s3 = clients("s3")
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=self.name):
            objects = [
                {"Key": each["Key"], "VersionId": each["VersionId"]}
                for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            ]
            if objects:
                s3.delete_objects(Bucket=self.name, Delete={"Objects": objects, "Quiet": True})
        s3.delete_bucket(Bucket=self.name)

    def _encryption(self, s3: Any) -> str | None:
        missing = "ServerSideEncryptionConfigurationNotFoundError"
        answer = found(lambda: s3.get_bucket_encryption(Bucket=self.name), missing)
        if answer is None:
            return None
        rule = answer["ServerSideEncryptionConfiguration"]["Rules"][0]
        return str(rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"])

    def _lifecycle(self, s3: Any) -> list[dict[str, Any]]:
        missing = "NoSuchLifecycleConfiguration"
        answer = found(lambda: s3.get_bucket_lifecycle_configuration(Bucket=self.name), missing)
        return sorted(answer["Rules"], key=lambda rule: str(rule["ID"])) if answer else []

    def _ownership(self, s3: Any) -> str | None:
        missing = "OwnershipControlsNotFoundError"
        answer = found(lambda: s3.get_bucket_ownership_controls(Bucket=self.name), missing)
        return str(answer["OwnershipControls"]["Rules"][0]["ObjectOwnership"]) if answer else None

    def _policy(self, s3: Any) -> dict[str, Any] | None:
        answer = found(lambda: s3.get_bucket_policy(Bucket=self.name), "NoSuchBucketPolicy")
        return policy(answer["Policy"]) if answer else None

    def _public_access_block(self, s3: Any) -> dict[str, bool]:
        missing = "NoSuchPublicAccessBlockConfiguration"
        answer = found(lambda: s3.get_public_access_block(Bucket=self.name), missing)
        block = answer["PublicAccessBlockConfiguration"] if answer else {}
        return {each: bool(block.get(each)) for each in _PUBLIC_ACCESS}

    def _tags(self, s3: Any) -> dict[str, str]:
        return managed_tags(self.tags, self._all_tags(s3))

    def _all_tags(self, s3: Any) -> dict[str, str]:
        answer = found(lambda: s3.get_bucket_tagging(Bucket=self.name), "NoSuchTagSet")
        tags = answer["TagSet"] if answer else []
        return {each["Key"]: each["Value"] for each in tags}
