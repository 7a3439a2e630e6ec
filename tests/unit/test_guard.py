"""The guard itself: a call to a real cloud fails, by name and by default endpoint."""

import socket

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError


def test_a_name_beyond_this_machine_is_not_even_resolved() -> None:
    with pytest.raises(pytest.fail.Exception, match="local endpoint"):
        socket.create_connection(("sts.us-east-1.amazonaws.com", 443), timeout=1)


def test_a_client_without_an_endpoint_of_its_own_reaches_nobody() -> None:
    client = boto3.client("sts", config=Config(retries={"max_attempts": 0}, connect_timeout=1))
    with pytest.raises(EndpointConnectionError):
        client.get_caller_identity()
