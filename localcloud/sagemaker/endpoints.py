"""Models, endpoint configurations and endpoints; invoking what is in service.

An endpoint is Creating until its container answers /ping, then InService; Failed, with the reason, where it never does.
An update starts the new container beside the old one, which serves until the new one is ready; where that fails, the
old one goes on, as AWS rolls back.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from localcloud.region import ACCOUNT
from localcloud.sagemaker import validation
from localcloud.sagemaker.artefacts import ArtefactProblem, Artefacts, location, unpack
from localcloud.sagemaker.containers import IMAGE, ContainerFailed, Containers, Reply, is_ours
from localcloud.sagemaker.resources import Kind, Resources, cut, shown
from localcloud.sagemaker.validation import RUNTIME, service_model
from localcloud.sagemaker.wire import Answered, Invocation, Json, ServiceError

# SageMaker's own limit for the answer of a container.
INVOCATION_S: Final = 60.0
# What SageMaker passes on; it strips all others.
_PASSED_IN: Final = (
    "content-type", "accept", "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-session-id",
    "x-amzn-sagemaker-inference-id",
)  # fmt: skip
_PASSED_OUT: Final = (
    "content-type", "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-new-session-id",
    "x-amzn-sagemaker-closed-session-id",
)  # fmt: skip
_BUSY: Final = frozenset({"Creating", "Updating", "Deleting"})


class Endpoints:
    """The operations of this module, by name in `operations`."""

    def __init__(self, resources: Resources, artefacts: Artefacts, containers: Containers) -> None:
        self._resources = resources
        self._artefacts = artefacts
        self._containers = containers
        # Endpoint to the name of the container that serves it now; a new one for each update.
        self._serving: dict[str, str] = {}
        self._started = 0
        self._lock = threading.Lock()
        self.operations: dict[str, Callable[[Json], Json]] = {
            "CreateModel": self.create_model,
            "DescribeModel": self.describe_model,
            "DeleteModel": self.delete_model,
            "ListModels": self.list_models,
            "CreateEndpointConfig": self.create_endpoint_config,
            "DescribeEndpointConfig": self.describe_endpoint_config,
            "DeleteEndpointConfig": self.delete_endpoint_config,
            "ListEndpointConfigs": self.list_endpoint_configs,
            "CreateEndpoint": self.create_endpoint,
            "DescribeEndpoint": self.describe_endpoint,
            "UpdateEndpoint": self.update_endpoint,
            "DeleteEndpoint": self.delete_endpoint,
            "ListEndpoints": self.list_endpoints,
        }

    def resume(self) -> None:
        """What was in service when we ended is started again."""
        for name in self._resources.names(Kind.ENDPOINT):
            if self._resources.get(Kind.ENDPOINT, name)["EndpointStatus"] in {"InService", *_BUSY}:
                with self._resources.change(Kind.ENDPOINT, name) as endpoint:
                    endpoint["EndpointStatus"] = "Creating"
                self._in_background(name, endpoint["EndpointConfigName"])

    def create_model(self, request: Json) -> Json:
        container = request.get("PrimaryContainer") or {}
        if "Image" not in container or "ModelDataUrl" not in container:
            raise unsupported("a model without PrimaryContainer.Image and PrimaryContainer.ModelDataUrl")
        refuse_unknown(container, {"Image", "ModelDataUrl", "Environment", "ContainerHostname", "Mode"}, "container")
        data = container["ModelDataUrl"]
        try:
            found = self._artefacts.exists(location(data))
        except ArtefactProblem as error:
            raise ServiceError("ValidationException", str(error)) from None
        if not found:
            raise ServiceError("ValidationException", f"Could not find model data at {data}.")
        return {"ModelArn": self._create(Kind.MODEL, "Model", request)}

    def describe_model(self, request: Json) -> Json:
        return self._describe(Kind.MODEL, "Model", request)

    def delete_model(self, request: Json) -> Json:
        self._resources.delete(Kind.MODEL, request["ModelName"])
        return {}

    def list_models(self, request: Json) -> Json:
        return self._list(Kind.MODEL, "Model", "Models", request)

    def create_endpoint_config(self, request: Json) -> Json:
        variants = request["ProductionVariants"]
        if len(variants) != 1:
            raise unsupported(f"{len(variants)} production variants")
        refuse_unknown(
            variants[0],
            {"VariantName", "ModelName", "InitialInstanceCount", "InstanceType", "InitialVariantWeight",
             "ModelDataDownloadTimeoutInSeconds", "ContainerStartupHealthCheckTimeoutInSeconds"},
            "production variant",
        )  # fmt: skip
        self._resources.get(Kind.MODEL, variants[0].get("ModelName", ""))
        return {"EndpointConfigArn": self._create(Kind.ENDPOINT_CONFIG, "EndpointConfig", request)}

    def describe_endpoint_config(self, request: Json) -> Json:
        return self._describe(Kind.ENDPOINT_CONFIG, "EndpointConfig", request)

    def delete_endpoint_config(self, request: Json) -> Json:
        self._resources.delete(Kind.ENDPOINT_CONFIG, request["EndpointConfigName"])
        return {}

    def list_endpoint_configs(self, request: Json) -> Json:
        return self._list(Kind.ENDPOINT_CONFIG, "EndpointConfig", "EndpointConfigs", request)

    def create_endpoint(self, request: Json) -> Json:
        config = self._resources.get(Kind.ENDPOINT_CONFIG, request["EndpointConfigName"])
        arn = self._create(
            Kind.ENDPOINT, "Endpoint",
            {**request, "EndpointStatus": "Creating", "ProductionVariants": _variants(config)},
        )  # fmt: skip
        self._in_background(request["EndpointName"], request["EndpointConfigName"])
        return {"EndpointArn": arn}

    def describe_endpoint(self, request: Json) -> Json:
        return self._describe(Kind.ENDPOINT, "Endpoint", request)

    def update_endpoint(self, request: Json) -> Json:
        name, config_name = request["EndpointName"], request["EndpointConfigName"]
        self._resources.get(Kind.ENDPOINT_CONFIG, config_name)
        with self._resources.change(Kind.ENDPOINT, name) as endpoint:
            if endpoint["EndpointStatus"] in _BUSY:
                message = f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}".'
                raise ServiceError("ValidationException", message)
            endpoint["EndpointStatus"] = "Updating"
        self._in_background(name, config_name)
        return {"EndpointArn": self._resources.arn(Kind.ENDPOINT, name)}

    def delete_endpoint(self, request: Json) -> Json:
        name = request["EndpointName"]
        endpoint = self._resources.get(Kind.ENDPOINT, name)
        if endpoint["EndpointStatus"] in _BUSY:
            message = f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}".'
            raise ServiceError("ValidationException", message)
        self._resources.delete(Kind.ENDPOINT, name)
        with self._lock:
            container = self._serving.pop(name, "")
        if container:
            self._containers.stop(container)
        return {}

    def list_endpoints(self, request: Json) -> Json:
        return self._list(Kind.ENDPOINT, "Endpoint", "Endpoints", request)

    def invoke(self, invocation: Invocation) -> Answered:
        """InvokeEndpoint. ServiceError: ValidationError, or ModelError for what the container refuses."""
        limit = service_model(RUNTIME).operation_model("InvokeEndpoint").input_shape.members["Body"].metadata["max"]
        if len(invocation.body) > limit:
            problem = (
                f"Value at 'body' failed to satisfy constraint: Member must have length less than or equal to {limit}"
            )
            raise validation.invalid([problem], "ValidationError")
        with self._lock:
            container = self._serving.get(invocation.endpoint)
        if container is None:
            message = f"Endpoint {invocation.endpoint} of account {ACCOUNT} not found."
            raise ServiceError("ValidationError", message)
        endpoint = self._resources.get(Kind.ENDPOINT, invocation.endpoint)
        headers = {name: invocation.headers[name] for name in _PASSED_IN if name in invocation.headers}
        reply = self._call(container, invocation.body, headers)
        if reply.status != HTTPStatus.OK:
            raise self._model_error(container, reply)
        passed = {name: reply.headers[name] for name in _PASSED_OUT if name in reply.headers}
        variant = endpoint["ProductionVariants"][0]["VariantName"]
        return Answered({**passed, "x-Amzn-Invoked-Production-Variant": variant}, reply.body)

    def start_model(self, name: str, model_name: str, environment: Json) -> None:
        """A model's container, ready to answer. ServiceError where there is no such model; ContainerFailed."""
        container = self._resources.get(Kind.MODEL, model_name)["PrimaryContainer"]
        if not is_ours(container["Image"]):
            raise ContainerFailed(f"The image '{container['Image']}' is not here: only {IMAGE} is")
        root = self._containers.folder(name)
        try:
            unpack(self._artefacts.read(location(container["ModelDataUrl"])), root / "model")
            self._containers.start(name, "serve", root, {**container.get("Environment", {}), **environment})
        except (ArtefactProblem, OSError) as error:
            raise ContainerFailed(str(error)) from None
        self._containers.wait_ready(name)

    def _in_background(self, name: str, config_name: str) -> None:
        threading.Thread(target=self._bring_up, args=(name, config_name), name=f"endpoint {name}", daemon=True).start()

    def _bring_up(self, name: str, config_name: str) -> None:
        with self._lock:
            self._started += 1
            container, old = f"endpoint-{name}-{self._started}", self._serving.get(name)
        try:
            config = self._resources.get(Kind.ENDPOINT_CONFIG, config_name)
            variant = config["ProductionVariants"][0]
            self.start_model(container, variant["ModelName"], {})
        except (ContainerFailed, ServiceError) as error:
            self._containers.stop(container)
            self._went_wrong(name, error, rolled_back=old is not None)
            return
        with self._lock:
            self._serving[name] = container
        with self._resources.change(Kind.ENDPOINT, name) as endpoint:
            endpoint.pop("FailureReason", None)
            endpoint |= {
                "EndpointStatus": "InService",
                "EndpointConfigName": config_name,
                "ProductionVariants": _variants(config),
            }
        if old:
            self._containers.stop(old)

    def _went_wrong(self, name: str, error: Exception, *, rolled_back: bool) -> None:
        reason = (
            "The primary container did not pass the ping health check. Please check the logs for this endpoint: "
            f"{error}"
        )
        with self._resources.change(Kind.ENDPOINT, name) as endpoint:
            endpoint["EndpointStatus"] = "InService" if rolled_back else "Failed"
            endpoint["FailureReason"] = cut(reason)

    def _call(self, container: str, body: bytes, headers: dict[str, str]) -> Reply:
        try:
            return self._containers.call(container, "POST", "/invocations", body, headers, timeout_s=INVOCATION_S)
        except TimeoutError:
            text = "Your invocation timed out while waiting for a response from container primary."
        except (OSError, http.client.HTTPException, KeyError) as error:
            text = f"The container primary does not answer: {type(error).__name__}"
        raise self._model_error(container, Reply(0, {}, text.encode()))

    def _model_error(self, container: str, reply: Reply) -> ServiceError:
        side = "client" if 400 <= reply.status < 500 else "server"
        text = reply.body.decode(errors="replace").strip()
        return ServiceError(
            "ModelError",
            f'Received {side} error ({reply.status}) from primary with message "{text}". See'
            f" {self._containers.log_path(container)} for more information.",
            HTTPStatus.FAILED_DEPENDENCY,
            OriginalStatusCode=reply.status,
            OriginalMessage=text,
            LogStreamArn=str(self._containers.log_path(container)),
        )

    def _create(self, kind: Kind, called: str, resource: Json) -> str:
        name = resource[f"{called}Name"]
        arn = self._resources.arn(kind, name)
        self._resources.create(kind, name, {**resource, f"{called}Arn": arn})
        return arn

    def _describe(self, kind: Kind, called: str, request: Json) -> Json:
        resource = self._resources.get(kind, request[f"{called}Name"])
        resource.setdefault("LastModifiedTime", resource["CreationTime"])
        return shown(resource, validation.output_members(f"Describe{called}"))

    def _list(self, kind: Kind, called: str, member: str, request: Json) -> Json:
        found, token = self._resources.page(
            kind, request, name_key=f"{called}Name", status_key=f"{called}Status"
        )  # fmt: skip
        return listing(f"List{called}s", member, found, token)


def listing(operation: str, member: str, found: list[Json], token: str) -> Json:
    """A List operation's answer."""
    shape = service_model(validation.SERVICE).operation_model(operation).output_shape.members[member].member
    for resource in found:
        resource.setdefault("LastModifiedTime", resource["CreationTime"])
    page: Json = {member: [shown(resource, frozenset(shape.members)) for resource in found]}
    return {**page, "NextToken": token} if token else page


def refuse_unknown(given: Json, supported: set[str], what: str) -> None:
    """ServiceError for a parameter that AWS would heed and we would not."""
    ignored = sorted(set(given) - supported)
    if ignored:
        raise unsupported(f"{ignored[0]} of a {what}")


def unsupported(what: str) -> ServiceError:
    return ServiceError("ValidationException", f"This local endpoint does not support {what}.")


def _variants(config: Json) -> list[dict[str, Any]]:
    return [
        {
            "VariantName": variant["VariantName"],
            "CurrentWeight": variant.get("InitialVariantWeight", 1.0),
            "DesiredWeight": variant.get("InitialVariantWeight", 1.0),
            "CurrentInstanceCount": 1,
            "DesiredInstanceCount": variant.get("InitialInstanceCount", 1),
        }
        for variant in config["ProductionVariants"]
    ]
