"""Puts the stand-in together: IPC operations, uplink, configurations, components."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from typing import Final

from localcloud.nucleus import recipe as recipes
from localcloud.nucleus.access import MQTT_PROXY, PUBSUB, allowed
from localcloud.nucleus.components import Launch, Supervisor, Tokens
from localcloud.nucleus.configuration import Configurations, merge
from localcloud.nucleus.iotcore import MqttProxy
from localcloud.nucleus.ipc import Call, Handler, InvalidArguments, IpcServer, Reply, Unauthorized
from localcloud.nucleus.profile import PROFILES
from localcloud.nucleus.pubsub import LocalBus
from localcloud.nucleus.recipe import Recipe
from localcloud.nucleus.settings import Deployment, NucleusSettings

logger = logging.getLogger(__name__)

STATES: Final = frozenset({"RUNNING", "ERRORED"})


class Nucleus:
    """Create it on a running event loop."""

    def __init__(self, config: NucleusSettings) -> None:
        self._config = config
        self._profile = PROFILES[config.profile]
        self._tokens = Tokens()
        self._configurations = Configurations(as_text=self._profile.configuration_as_text)
        self._bus = LocalBus(self._authorize, PUBSUB)
        self._proxy = MqttProxy(config.uplink, self._profile, self._authorize, MQTT_PROXY)
        self._pids: dict[str, int] = {}
        for visitor in config.visitors:
            self._tokens.admit(visitor.name, visitor.token)
            self._configurations.add(visitor.name, {"accessControl": visitor.access_control})

    async def run(self) -> None:
        """Serve and keep the components running, until cancelled."""
        self._config.root.mkdir(parents=True, exist_ok=True)
        self._config.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        ipc = IpcServer(self._handlers(), self._tokens.component, self._profile.ipc_message_bytes_max)
        await ipc.listen(self._config.socket)
        self._proxy.start()
        logger.info("nucleus (%s) of %s listens on %s", self._profile.name, self._config.thing, self._config.socket)
        supervisors = [asyncio.create_task(self._supervisor(item).run()) for item in self._config.components]
        try:
            await asyncio.gather(*supervisors, asyncio.Event().wait())
        finally:
            for task in supervisors:
                task.cancel()
            await asyncio.gather(*supervisors, return_exceptions=True)
            await ipc.close()
            await self._proxy.stop()
            self._config.socket.unlink(missing_ok=True)

    def deploy(self, config: NucleusSettings) -> None:
        """A new deployment: merge the components' configuration and tell them (as the classic nucleus does)."""
        for deployment in config.components:
            component = recipes.read(deployment.recipe).name
            self._configurations.change(component, deployment.configuration)

    def _handlers(self) -> dict[str, Handler]:
        return {
            "SubscribeToTopic": self._bus.subscribe,
            "PublishToTopic": self._bus.publish,
            "PublishToIoTCore": self._proxy.publish,
            "SubscribeToIoTCore": self._proxy.subscribe,
            "GetConfiguration": self._configurations.get,
            "UpdateConfiguration": self._configurations.update,
            "SubscribeToConfigurationUpdate": self._configurations.watch,
            "UpdateState": self._update_state,
        }

    def _supervisor(self, deployment: Deployment) -> Supervisor:
        recipe = recipes.read(deployment.recipe)
        self._configurations.add(recipe.name, merge(recipe.configuration, deployment.configuration))
        work_dir = self._config.root / "work" / recipe.name
        launch = Launch(recipe.name, deployment.command, work_dir, self._environment(recipe))
        return Supervisor(launch, self._tokens, started=lambda pid: self._started(recipe.name, pid))

    def _environment(self, recipe: Recipe) -> dict[str, str]:
        return {
            **recipe.environment,
            "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT": str(self._config.socket.resolve()),
            "AWS_IOT_THING_NAME": self._config.thing,
            "AWS_REGION": self._config.region,
            "AWS_DEFAULT_REGION": self._config.region,
            "GG_ROOT_CA_PATH": self._config.uplink.ca_path,
            "GGC_VERSION": "2.6.0",
        }

    def _started(self, component: str, pid: int) -> None:
        """Tell who watches memory, and who kills for a test, which process is which."""
        self._pids[component] = pid
        path = self._config.root / "pids.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"nucleus": os.getpid(), **self._pids}))
        partial.replace(path)

    def _authorize(self, call: Call, service: str, resource: str) -> None:
        control = self._configurations.access_control(call.component)
        if not allowed(control, service, call.operation, resource, {"iot:thingName": self._config.thing}):
            raise Unauthorized(
                f"Principal {call.component} is not authorized to perform {service}:{call.operation} on {resource}"
            )

    @staticmethod
    def _update_state(call: Call) -> Reply:
        state = call.request.get("state")
        if state not in STATES:
            raise InvalidArguments(f"state: {state}")
        logger.info("%s is %s", call.component, state)
        return Reply({})
