"""What a device's certificate allows it: to be itself, and nobody else."""

from __future__ import annotations

from typing import Any

from deploy.topology import Names

_SELF = "${iot:Connection.Thing.ThingName}"


def device_policy(names: Names) -> dict[str, Any]:
    """One policy for gateways and things, of primary and DR: the client id is the thing's name on every leg.

    The two legs of a gateway meet different brokers, so that the same client id never takes over its twin's session.
    AWS resolves the thing's name from the client id: an id with a suffix would leave `ThingName` unresolved, and a
    wildcard (`client/${ThingName}*`) would let `pump-1` push `pump-10` off the broker.

    A device may publish on any level below its own name, though only `telemetry` is understood: the broker would answer
    a mistyped level with a refusal that few devices show anybody; so the rule takes it, and it ends as a dead letter.
    It may subscribe to nothing: that branch is the way up, and nothing is sent down yet.
    """
    prefix = f"arn:aws:iot:{names.region}:{names.account}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ConnectAsItself",
                "Effect": "Allow",
                "Action": "iot:Connect",
                "Resource": f"{prefix}:client/{_SELF}",
                "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": "true"}},
            },
            {
                "Sid": "OwnTopics",
                "Effect": "Allow",
                "Action": "iot:Publish",
                "Resource": f"{prefix}:topic/tenants/{names.tenant}/devices/{_SELF}/*",
            },
        ],
    }
