"""Parts of the local SageMaker that need no process: parameters, resources, archives, how objects are cut."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker import artefacts, validation
from localcloud.sagemaker.artefacts import ArtefactProblem, Location, location, pack, relative, unpack
from localcloud.sagemaker.containers import is_ours
from localcloud.sagemaker.resources import FAILURE_CHARS_MAX, Kind, Resources, cut
from localcloud.sagemaker.transform import Cut, payloads
from localcloud.sagemaker.wire import ServiceError


def problems(operation: str, parameters: dict[str, Any]) -> str:
    with pytest.raises(ServiceError) as refused:
        validation.check(operation, parameters)
    assert refused.value.code == "ValidationException"
    return refused.value.message


def archive(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for member in members:
            packed.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def member(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def test_every_problem_of_a_request_is_told_at_once_in_the_words_of_aws() -> None:
    message = problems("CreateEndpoint", {"EndpointName": "a b", "Size": 3})
    assert message.startswith("3 validation errors detected: Value null at 'endpointConfigName' failed to satisfy")
    assert "Value 'a b' at 'endpointName' failed to satisfy constraint: Member must satisfy regular" in message
    assert message.endswith("Unknown parameter at 'size'")


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"MaxResults": "ten"}, "Value 'ten' at 'maxResults' failed to satisfy constraint: Member must be a integer"),
        ({"MaxResults": True}, "Member must be a integer"),
        ({"MaxResults": 101}, "Member must have value less than or equal to 100"),
        ({"SortOrder": "Up"}, "Member must satisfy enum value set: [Ascending, Descending]"),
        ({"NameContains": ["a"]}, "Member must be a string"),
        ({"NameContains": "a" * 64}, "Member must have length less than or equal to 63"),
        ({"CreationTimeAfter": "yesterday"}, "Member must be a timestamp"),
    ],
)
def test_types_bounds_and_words_are_held_against_the_model(parameters: dict[str, Any], complaint: str) -> None:
    assert complaint in problems("ListModels", parameters)


def test_maps_and_lists_are_looked_into() -> None:
    container = {"Image": "x", "Environment": {"1A": "b", "GOOD": 5}}
    message = problems("CreateModel", {"ModelName": "a", "PrimaryContainer": container, "Tags": [{"Key": "k"}]})
    assert "Value '1A' at 'primaryContainer.environment.key'" in message
    assert "Value '5' at 'primaryContainer.environment.GOOD.member'" in message
    assert "Value null at 'tags.1.member.value'" in message


def test_resources_are_on_disk_before_they_are_answered(tmp_path: Path) -> None:
    resources = Resources(tmp_path, "us-east-1")
    resources.create(Kind.MODEL, "A", {"ModelName": "A"})
    with resources.change(Kind.MODEL, "A") as model:
        model["Note"] = "changed"
    again = Resources(tmp_path, "us-east-1")
    assert again.get(Kind.MODEL, "A")["Note"] == "changed"
    assert again.arn(Kind.MODEL, "A") == "arn:aws:sagemaker:us-east-1:000000000000:model/a"
    again.delete(Kind.MODEL, "A")
    assert Resources(tmp_path, "us-east-1").names(Kind.MODEL) == []


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    resources = Resources(tmp_path, "us-east-1")
    resources.create(Kind.ENDPOINT, "a", {"EndpointStatus": "InService"})

    def fail() -> None:
        with resources.change(Kind.ENDPOINT, "a") as endpoint:
            endpoint["EndpointStatus"] = "Deleting"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert resources.get(Kind.ENDPOINT, "a")["EndpointStatus"] == "InService"


def test_a_failure_s_reason_is_as_long_as_aws_lets_it_be() -> None:
    assert cut("short") == "short"
    assert len(cut("x" * 5_000)) == FAILURE_CHARS_MAX


@pytest.mark.parametrize(
    ("image", "ours"),
    [
        ("plantwatch-sagemaker", True),
        ("registry.invalid/team/plantwatch-sagemaker:0.1.0", True),
        ("registry.invalid:5000/plantwatch-sagemaker@sha256:0123", True),
        ("registry.invalid/plantwatch-sagemaker-fork:1", False),
        ("registry.invalid/randomcutforest:1", False),
        ("", False),
    ],
)
def test_our_image_is_known_whatever_registry_has_it(image: str, ours: bool) -> None:
    assert is_ours(image) is ours


def test_what_was_packed_is_unpacked_and_the_same_files_are_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "model"
    (source / "inner").mkdir(parents=True)
    (source / "pumps.bundle").write_bytes(b"bundle")
    (source / "inner" / "notes.txt").write_bytes(b"notes")
    packed = pack(source)
    assert packed == pack(source)
    unpack(packed, tmp_path / "out")
    assert (tmp_path / "out" / "inner" / "notes.txt").read_bytes() == b"notes"
    assert (tmp_path / "out" / "pumps.bundle").read_bytes() == b"bundle"


@pytest.mark.parametrize(
    "bad",
    [
        member("../evil"),
        member("/etc/evil"),
        member("a/../../evil"),
        member("link", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member("hard", kind=tarfile.LNKTYPE, link="/etc/passwd"),
        member("device", kind=tarfile.CHRTYPE),
    ],
)
def test_an_archive_that_reaches_outside_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    with pytest.raises(ArtefactProblem, match="which is no file below it"):
        unpack(archive(bad), tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_an_archive_that_unfolds_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "ARCHIVE_BYTES_MAX", 1_000)
    with pytest.raises(ArtefactProblem, match="more than 1000 bytes"):
        unpack(archive(member("a", size=600), member("b", size=600)), tmp_path)


@pytest.mark.parametrize("data", [b"", b"no archive", archive(member("a", size=100))[:-20]])
def test_a_damaged_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ArtefactProblem, match=r"the model archive is no tar\.gz"):
        unpack(data, tmp_path)


def test_locations_are_buckets_and_keys() -> None:
    assert location("s3://models/a/b.tar.gz") == Location("models", "a/b.tar.gz")
    assert str(location("s3://models")) == "s3://models/"
    for bad in ("models/a", "https://models/a", "s3:///a"):
        with pytest.raises(ArtefactProblem):
            location(bad)


@pytest.mark.parametrize(
    ("key", "prefix", "name"),
    [
        ("in/a.csv", "in/", "a.csv"),
        ("in/hall/a.csv", "in/", "hall/a.csv"),
        ("in/a.csv", "in/a.csv", "a.csv"),
        ("in/a.csv", "in/a", "a.csv"),
        ("a.csv", "", "a.csv"),
    ],
)
def test_an_output_is_called_as_its_input_below_the_prefix(key: str, prefix: str, name: str) -> None:
    assert relative(key, prefix) == name


@given(st.binary(max_size=400), st.booleans(), st.booleans(), st.integers(1, 50))
def test_nothing_of_an_object_is_lost_and_no_line_is_cut(data: bytes, by_line: bool, several: bool, most: int) -> None:
    cut_up = list(payloads(data, Cut(by_line, several, most)))
    assert b"".join(cut_up) == data
    if by_line:
        assert all(part.endswith(b"\n") for part in cut_up[:-1])
        assert all(len(part) <= most or part.count(b"\n") <= 1 for part in cut_up)
    if by_line and not several:
        assert cut_up == list(io.BytesIO(data))
