"""A local cloud removes what it made, and nobody else's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.cloud import Layout, LocalCloud, NotACloud


def test_a_folder_that_no_cloud_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.txt").write_text("precious")
    with pytest.raises(NotACloud, match="nothing was removed"):
        LocalCloud(Layout(tmp_path)).reset()
    assert (tmp_path / "thesis" / "chapter-1.txt").read_text() == "precious"


def test_a_stopped_cloud_is_forgotten_also_after_an_interruption(tmp_path: Path) -> None:
    cloud = LocalCloud(Layout(tmp_path))
    (tmp_path / "cloud.json").write_text("{}")
    for name in ("state", "things"):
        (tmp_path / name).mkdir()
    cloud.reset()
    assert {entry.name for entry in tmp_path.iterdir()} <= {"run", "logs"}
    cloud.reset()
