"""One local cloud for all end-to-end tests, on ports of its own, beside whatever runs on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.cloud import Layout, LocalCloud, free_port
from localcloud.region import Region


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    running = LocalCloud(_layout(tmp_path_factory.mktemp("cloud")), die_with_parent=True)
    try:
        running.up(lambda _: None)
        yield running
    finally:
        running.down()


def _layout(root: Path) -> Layout:
    ports = {free_port() for _ in range(5)}
    while len(ports) < 5:  # the kernel may give one twice
        ports.add(free_port())
    first, second, third, fourth, receiver = ports
    return Layout(
        root, Region("primary", "us-east-1", first, second), Region("dr", "us-west-2", third, fourth), receiver
    )
