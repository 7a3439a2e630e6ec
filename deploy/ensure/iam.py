"""Roles, with all of their permissions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from deploy.ensure.clients import Clients
from deploy.ensure.core import Resource, State, found
from deploy.ensure.documents import managed_tags, policy, tag_list, text


@dataclass(frozen=True)
class Role(Resource):
    """A role may do what its description says and nothing else: foreign policies on it are drift, and removed."""

    kind: ClassVar[str] = "iam_role"

    name: str
    trust: Mapping[str, Any]
    policies: Mapping[str, Mapping[str, Any]]
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return {
            "managed_policies": [],
            "policies": {name: policy(document) for name, document in self.policies.items()},
            "tags": dict(self.tags),
            "trust": policy(self.trust),
        }

    def read(self, clients: Clients) -> State | None:
        iam = clients("iam")
        answer = found(lambda: iam.get_role(RoleName=self.name), "NoSuchEntity")
        if answer is None:
            return None
        return {
            "managed_policies": self._attached(iam),
            "policies": {name: self._inline(iam, name) for name in self._inline_names(iam)},
            "tags": managed_tags(self.tags, answer["Role"].get("Tags", [])),
            "trust": policy(answer["Role"]["AssumeRolePolicyDocument"]),
        }

    def create(self, clients: Clients) -> None:
        clients("iam").create_role(
            RoleName=self.name, AssumeRolePolicyDocument=text(self.trust), Tags=tag_list(self.tags)
        )

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        iam = clients("iam")
        if "trust" in fields:
            iam.update_assume_role_policy(RoleName=self.name, PolicyDocument=text(self.trust))
        if "policies" in fields:
            for name, document in self.policies.items():
                iam.put_role_policy(RoleName=self.name, PolicyName=name, PolicyDocument=text(document))
            self._delete_inline(iam, set(self._inline_names(iam)) - self.policies.keys())
        if "managed_policies" in fields:
            self._detach_all(iam)
        if "tags" in fields:
            iam.tag_role(RoleName=self.name, Tags=tag_list(self.tags))

    def delete(self, clients: Clients) -> None:
        iam = clients("iam")
        self._detach_all(iam)
        self._delete_inline(iam, set(self._inline_names(iam)))
        iam.delete_role(RoleName=self.name)

    def _inline_names(self, iam: Any) -> list[str]:
        pages = iam.get_paginator("list_role_policies").paginate(RoleName=self.name)
        return sorted(name for page in pages for name in page["PolicyNames"])

    def _inline(self, iam: Any, name: str) -> dict[str, Any]:
        return policy(iam.get_role_policy(RoleName=self.name, PolicyName=name)["PolicyDocument"])

    def _attached(self, iam: Any) -> list[str]:
        pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=self.name)
        return sorted(each["PolicyArn"] for page in pages for each in page["AttachedPolicies"])

    def _detach_all(self, iam: Any) -> None:
        for arn in self._attached(iam):
            iam.detach_role_policy(RoleName=self.name, PolicyArn=arn)

    def _delete_inline(self, iam: Any, names: set[str]) -> None:
        for name in sorted(names):
            iam.delete_role_policy(RoleName=self.name, PolicyName=name)
