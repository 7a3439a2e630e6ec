"""What the two nuclei allow: `lite` (the C daemons) and `classic` (the Java one).

Figures measured against aws-greengrass-lite 2.6.0 and read in the classic nucleus's source. The stand-in takes the
stricter one by default, so that what works here works on both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Profile:
    """Limits of one kind of nucleus.

    `ipc_message_bytes_max`: a longer IPC message closes the connection that sent it.
    `iot_messages_unacknowledged_max`, `iot_bytes_unacknowledged_max`: beyond these PublishToIoTCore fails at once.
    `configuration_as_text`: scalars of the configuration arrive as strings.
    """

    name: str
    ipc_message_bytes_max: int
    iot_messages_unacknowledged_max: int
    iot_bytes_unacknowledged_max: int
    configuration_as_text: bool


PROFILES: Final = {
    profile.name: profile
    for profile in (
        # A payload of 7,300 B is 9.8 kB as base64 in JSON: the daemons' buffer is 10 kB. Ten QoS 1 slots.
        Profile("lite", 10_000, 10, 15_000, configuration_as_text=True),
        # AWS IoT refuses payloads above 128 kB; the spooler of the classic nucleus holds 2.5 MB in memory.
        Profile("classic", 256 * 1024, 10_000, 2_500_000, configuration_as_text=False),
    )
}
