"""One battery for the workshop's object stores: a folder, and a bucket of an emulated region."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from models.registry import Author, Registry, RegistryProblem, RegistryRefused, Stage, machine_types
from models.stores import FolderStore, InvalidPlace, ObjectStore, S3Store
from tests.region_support import RunningRegion

pytestmark = pytest.mark.component

KINDS = ["folder", "bucket", "bucket with prefix"]
BY = Author("mk", 1_772_600_000_000, "it finds more")
FIRST, SECOND, THIRD = (letter * 16 for letter in "abc")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return FolderStore(tmp_path / "models")
    running: RunningRegion = request.getfixturevalue("patched")
    s3, bucket = running.client("s3"), f"models-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    return S3Store(s3, bucket, "plantwatch/models" if "prefix" in request.param else "")


def test_an_object_is_written_once_and_read_again(store: ObjectStore) -> None:
    assert store.get("a/b") is None
    assert store.put_new("a/b", b"first")
    assert not store.put_new("a/b", b"second")
    found = store.get("a/b")
    assert found
    assert found.body == b"first"


def test_only_who_has_read_the_present_content_may_replace_it(store: ObjectStore) -> None:
    assert not store.replace("doc", b"new", etag='"d41d8cd98f00b204e9800998ecf8427e"')
    store.put_new("doc", b"one")
    first = store.get("doc")
    assert first
    assert store.replace("doc", b"two", etag=first.etag)
    assert not store.replace("doc", b"three", etag=first.etag)
    second = store.get("doc")
    assert second
    assert second.body == b"two"


def test_names_are_those_below_a_prefix_in_order(store: ObjectStore) -> None:
    for name in ("b/2", "b/1", "a/1", "b/c/3", "bb"):
        store.put_new(name, b"x")
    assert list(store.names("b/")) == ["b/1", "b/2", "b/c/3"]
    assert list(store.names("b")) == ["b/1", "b/2", "b/c/3", "bb"]
    assert list(store.names("none/")) == []


def test_two_writers_at_once_both_have_their_say(store: ObjectStore) -> None:
    """Each promotion of a race is decided on what the other left, none is lost."""
    registry = Registry(store, tenant="acme", machine_type="pump")
    digests = [f"{number:016x}" for number in range(4)]
    start = threading.Barrier(len(digests))

    def push(digest: str) -> None:
        start.wait()
        registry.push(digest.encode(), digest=digest, author=BY)

    threads = [threading.Thread(target=push, args=(digest,)) for digest in digests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    stages = registry.stages()
    assert sorted(step.digest for step in stages.history) == digests
    assert registry.versions() == tuple(digests)
    assert stages.candidate == stages.history[-1].digest


def test_versions_climb_the_stages_and_production_can_be_reverted(store: ObjectStore) -> None:
    registry = Registry(store, tenant="acme", machine_type="pump")
    for digest in (FIRST, SECOND):
        registry.push(digest.encode(), digest=digest, author=BY)
        registry.promote(Stage.SHADOW, author=BY)
        registry.promote(Stage.PRODUCTION, author=BY, digest=digest)
    assert registry.stages().production == SECOND
    assert registry.get(FIRST) == FIRST.encode()
    reverted = registry.revert(author=Author("ops", BY.at + 1, "too many alerts"))
    assert reverted == registry.stages()
    assert (reverted.production, reverted.stages_of(FIRST)) == (FIRST, (Stage.PRODUCTION,))
    last = reverted.history[-1]
    assert (last.before, last.digest, last.by, last.at) == (SECOND, FIRST, "ops", BY.at + 1)
    assert len(reverted.history) == 7
    assert list(machine_types(store, "acme")) == ["pump"]


def test_what_is_not_allowed_changes_nothing(store: ObjectStore) -> None:
    registry = Registry(store, tenant="acme", machine_type="pump")
    registry.push(b"one", digest=FIRST, author=BY)
    before = registry.stages()
    refusals: dict[RegistryProblem, Callable[[], object]] = {
        RegistryProblem.OTHER_CONTENT: lambda: registry.push(b"other", digest=FIRST, author=BY),
        RegistryProblem.NOT_IN_STAGE_BELOW: lambda: registry.promote(Stage.PRODUCTION, author=BY),
        RegistryProblem.NOTHING_BEFORE: lambda: registry.revert(author=BY),
        RegistryProblem.UNKNOWN_VERSION: lambda: registry.get(THIRD),
        RegistryProblem.INVALID_AUTHOR: lambda: registry.promote(Stage.SHADOW, author=Author("", BY.at)),
    }
    for problem, attempt in refusals.items():
        with pytest.raises(RegistryRefused) as refused:
            attempt()
        assert refused.value.problem is problem
    with pytest.raises(RegistryRefused, match="not_in_stage_below"):
        registry.promote(Stage.SHADOW, author=BY, digest=SECOND)
    with pytest.raises(RegistryRefused, match="not_in_stage_below"):
        registry.promote(Stage.CANDIDATE, author=BY)
    assert registry.stages() == before
    # The same bundle again is no other content.
    assert registry.push(b"one", digest=FIRST, author=BY).candidate == FIRST


def test_a_bucket_that_is_not_there_is_refused_in_a_line(patched: RunningRegion) -> None:
    store = S3Store(patched.client("s3"), "no-such-bucket-anywhere")
    for attempt in (lambda: store.put_new("a", b"x"), lambda: list(store.names(""))):
        with pytest.raises(InvalidPlace, match="NoSuchBucket"):
            attempt()
