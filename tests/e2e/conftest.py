"""One local cloud for all end-to-end tests, on ports of its own, beside whatever runs on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localcloud.cloud import Layout, LocalCloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    running = LocalCloud(Layout.on_free_ports(tmp_path_factory.mktemp("cloud")), die_with_parent=True)
    try:
        running.up(lambda _: None)
        yield running
    finally:
        running.down()
