"""Parameters whose value changes hands after creation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from deploy.ensure.clients import Clients
from deploy.ensure.core import Resource, State, found
from deploy.ensure.documents import managed_tags, tag_list


@dataclass(frozen=True)
class Parameter(Resource):
    """Made once with `initial_value`; from then on the value belongs to whoever writes it (failover), and no
    provisioning may take it back. Type and tags stay ours."""

    kind: ClassVar[str] = "ssm_parameter"

    name: str
    initial_value: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return {"tags": dict(self.tags), "type": "String"}

    def read(self, clients: Clients) -> State | None:
        ssm = clients("ssm")
        answer = found(lambda: ssm.get_parameter(Name=self.name), "ParameterNotFound")
        if answer is None:
            return None
        present = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=self.name)["TagList"]
        return {"tags": managed_tags(self.tags, present), "type": answer["Parameter"]["Type"]}

    def create(self, clients: Clients) -> None:
        clients("ssm").put_parameter(Name=self.name, Value=self.initial_value, Type="String", Tags=tag_list(self.tags))

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        ssm = clients("ssm")
        if "type" in fields:
            value = ssm.get_parameter(Name=self.name, WithDecryption=True)["Parameter"]["Value"]
            ssm.put_parameter(Name=self.name, Value=value, Type="String", Overwrite=True)
        if "tags" in fields:
            ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=self.name, Tags=tag_list(self.tags))

    def delete(self, clients: Clients) -> None:
        clients("ssm").delete_parameter(Name=self.name)
