"""A local cloud removes what it made, and nobody else's files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from localcloud import commands, demo
from localcloud import layout as layouts
from localcloud.alone import alone_in
from localcloud.cloud import Layout, LocalCloud, NotACloud
from localcloud.processes import AlreadyRunning, ProcessSpec
from plantwatch.bundle.container import save
from plantwatch.bundle.model import Bundle


def test_a_folder_that_no_cloud_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.txt").write_text("precious")
    with pytest.raises(NotACloud, match="nothing was removed"):
        LocalCloud(Layout(tmp_path)).reset()
    assert (tmp_path / "thesis" / "chapter-1.txt").read_text() == "precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis"]


def test_a_stopped_cloud_is_forgotten_also_after_an_interruption(tmp_path: Path) -> None:
    cloud = LocalCloud(Layout(tmp_path))
    (tmp_path / "cloud.json").write_text("{}")
    for name in ("state", "things"):
        (tmp_path / name).mkdir()
    cloud.reset()
    assert {entry.name for entry in tmp_path.iterdir()} <= {"run", "logs"}
    cloud.reset()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[LocalCloud]:
    """As far as a later command can tell: something of it is alive."""
    cloud = LocalCloud(Layout(tmp_path / "cloud"))
    cloud.processes.start(ProcessSpec("gateway", (sys.executable, "-c", "import time; time.sleep(600)")))
    layouts.save(cloud.layout)
    yield cloud
    cloud.processes.stop_all(grace_s=0.0)


def test_an_up_that_fails_leaves_a_running_cloud_alone(running: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # no java
    with pytest.raises(typer.Exit):
        commands.up(running.layout.root)
    assert running.processes.status() == {"gateway": True}


def test_a_demo_beside_a_running_one_changes_nothing(running: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = running.layout.root.parent
    monkeypatch.setattr(demo, "FOLDER", folder)
    (folder / "report.json").write_text("theirs")
    assert demo.main() == 1
    assert running.processes.status() == {"gateway": True}
    assert {entry.name for entry in folder.iterdir()} == {"cloud", "report.json"}


def test_two_commands_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with alone_in(tmp_path), pytest.raises(AlreadyRunning, match="another command"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        assert tmp_path.is_dir()


def test_another_bundle_is_refused_while_a_cloud_runs(
    running: LocalCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "pump.bundle"
    save(Bundle("pump"), bundle)
    before = (running.layout.root / "cloud.json").read_text()
    with pytest.raises(typer.Exit):
        commands.up(running.layout.root, bundle)
    assert "running with another bundle" in capsys.readouterr().err
    assert (running.layout.root / "cloud.json").read_text() == before


def test_a_running_cloud_keeps_its_bundle(running: LocalCloud, tmp_path: Path) -> None:
    bundle = tmp_path / "pump.bundle"
    save(Bundle("pump"), bundle)
    layouts.save(replace(running.layout, bundle_path=str(bundle)))
    kept = commands._layout_to_start(running.layout.root, None)
    assert kept.bundle_path == str(bundle)
    assert commands._layout_to_start(running.layout.root, bundle) == kept


def test_down_and_reset_where_nothing_is_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.down(tmp_path / "nothing")
    assert "nothing to stop" in capsys.readouterr().err
    commands.reset(tmp_path / "nothing")
    assert "nothing to forget" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
