"""One local cloud for all end-to-end tests, on ports of its own, beside whatever runs on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.cloud import Layout, LocalCloud
from localcloud.processes import free_ports
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
    ports = free_ports(5)
    return Layout(root, Region("primary", "us-east-1", *ports[:2]), Region("dr", "us-west-2", *ports[2:4]), ports[4])
