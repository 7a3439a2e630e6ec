"""One place that makes AWS clients, and one that says what their errors mean.

Region, credentials and endpoint come from the environment or the profile as boto3 reads them (AWS_REGION, AWS_PROFILE,
AWS_ENDPOINT_URL and so on); nothing is read or made at import.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, ParamValidationError

from plantwatch.ports import DeliveryFailed

# Within a region a connection stands in milliseconds; two seconds is a broken path, not a slow one.
CONNECT_TIMEOUT_S: Final = 2.0
# The slowest call is a 5 MB object to S3; DynamoDB, SNS and SSM answer in tens of milliseconds.
READ_TIMEOUT_S: Final = 10.0
# Standard mode waits at most 1 + 2 + 4 s between four attempts: it rides out a throttle, and an outage is the caller's.
ATTEMPTS_MAX: Final = 4

# What no retry will change: it needs a person with the policy or the topology in front of them.
_REFUSALS: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidParameter",
        "InvalidParameterException",
        "NoSuchBucket",
        "NotFound",
        "NotFoundException",
        "ParameterNotFound",
        "ResourceNotFoundException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "ValidationException",
    }
)


class Refused(Exception):
    """AWS answered no, and will answer no again: a policy, a name or a request is wrong. Crash and say so."""


def client(service: str, *, connections: int = 10) -> Any:
    """A client with bounded time-outs and retries. Thread-safe, so one per process and service is enough."""
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS_MAX},
        max_pool_connections=connections,
    )
    return boto3.session.Session().client(service, config=config)


@contextmanager
def service_errors(doing: str) -> Iterator[None]:
    """Errors of one call as the two that the ports know: DeliveryFailed (retry later) and Refused (crash).

    `doing` completes the sentence "could not ...", with the resource's name, for the person who reads the log.
    """
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        message = f"could not {doing}: {code}: {error.response.get('Error', {}).get('Message', '')}"
        raise (Refused(message) if code in _REFUSALS else DeliveryFailed(message)) from error
    except (NoCredentialsError, NoRegionError, ParamValidationError) as error:
        raise Refused(f"could not {doing}: {error}") from error
    except BotoCoreError as error:
        raise DeliveryFailed(f"could not {doing}: {error}") from error


def error_code(error: ClientError) -> str:
    """The service's own name of the error, for example `ConditionalCheckFailedException`."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))
