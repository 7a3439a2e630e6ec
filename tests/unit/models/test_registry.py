"""The registry's document is data from outside: damaged, it is refused; and names are names, not paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.registry import Author, Registry, RegistryProblem, RegistryRefused, Stage
from models.stores import FolderStore, InvalidPlace, store_at
from plantwatch.ports import DeliveryFailed

BY = Author("mk", 1_772_600_000_000)
DIGEST = "0123456789abcdef"


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2}',
        '{"schema": 1, "candidate": "", "shadow": "", "productions": 7, "history": []}',
        '{"schema": 1, "candidate": "", "shadow": "", "productions": [], "history": [{"action": "erase"}]}',
    ],
)
def test_a_damaged_document_is_refused_and_left_alone(tmp_path: Path, document: str) -> None:
    file = tmp_path / "acme" / "pump" / "stages.json"
    file.parent.mkdir(parents=True)
    file.write_text(document)
    registry = Registry(FolderStore(tmp_path), tenant="acme", machine_type="pump")
    for attempt in (registry.stages, lambda: registry.push(b"x", digest=DIGEST, author=BY)):
        with pytest.raises(RegistryRefused) as refused:
            attempt()
        assert refused.value.problem is RegistryProblem.DAMAGED
    assert file.read_text() == document


def test_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "models")
    for tenant in ("..", "a/b", ""):
        with pytest.raises(RegistryRefused, match="invalid_name"):
            Registry(store, tenant=tenant, machine_type="pump")
    for digest in ("../../x", "", "A" * 16, "0" * 65):
        with pytest.raises(RegistryRefused, match="unknown_version"):
            Registry(store, tenant="acme", machine_type="pump").get(digest)
    for name in ("../x", "/etc/passwd", "a//b", ""):
        with pytest.raises(InvalidPlace):
            store.put_new(name, b"x")
    with pytest.raises(InvalidPlace, match="no bucket"):
        store_at("s3:///prefix")


def test_promotion_keeps_who_when_and_why(tmp_path: Path) -> None:
    registry = Registry(FolderStore(tmp_path), tenant="acme", machine_type="pump")
    registry.push(b"x", digest=DIGEST, author=BY)
    registry.promote(Stage.SHADOW, author=Author("ops", BY.at + 1000, "half the alerts"))
    entry = json.loads((tmp_path / "acme" / "pump" / "stages.json").read_text())["history"][-1]
    assert entry == {
        "action": "promote",
        "stage": "shadow",
        "digest": DIGEST,
        "before": "",
        "by": "ops",
        "at": "2026-03-04T04:53:21.000Z",
        "comment": "half the alerts",
    }


def test_promoting_what_is_in_production_already_adds_no_step_back(tmp_path: Path) -> None:
    registry = Registry(FolderStore(tmp_path), tenant="acme", machine_type="pump")
    for _ in range(2):
        registry.push(b"x", digest=DIGEST, author=BY)
        registry.promote(Stage.SHADOW, author=BY)
        registry.promote(Stage.PRODUCTION, author=BY)
    with pytest.raises(RegistryRefused, match="nothing_before"):
        registry.revert(author=BY)


def test_a_folder_that_cannot_be_written_is_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(DeliveryFailed, match="could not write"):
        FolderStore(tmp_path / "models").put_new("acme/x", b"x")
