"""A bundle's file: what comes back is what was written, and whatever was done to it is refused by its name."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from plantwatch import envelope
from plantwatch.bundle import container, manifest
from plantwatch.bundle.container import BUNDLE_BYTES_MAX, load, read, save, write
from plantwatch.bundle.model import Bundle, BundleProblem, InvalidBundle, Training
from plantwatch.detectors.novelty import NoveltyParameters
from plantwatch.detectors.prior import PRIOR_CELLS
from plantwatch.machine import Machines
from plantwatch.quality import PhysicalRange, QualityLimits
from plantwatch.telemetry import Reading
from plantwatch.watch_config import WatchConfig
from tests.unit.bundle.fleets import START, a_bundle, running

Change = Callable[[dict[str, Any]], object]


@cache
def bundle() -> Bundle:
    return a_bundle()


@cache
def written() -> bytes:
    return write(bundle())


def taken_apart(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the arrays of a safetensors file."""
    length = struct.unpack_from("<Q", data)[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def put_together(header: dict[str, Any], arrays: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + arrays


def forged(change: Change) -> bytes:
    """The file with another manifest, under a digest that fits: as whoever can write the file may leave it."""
    header, arrays = taken_apart(written())
    fields = json.loads(header["__metadata__"]["manifest"])
    change(fields)
    text = json.dumps(fields)
    header["__metadata__"] = {"manifest": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return put_together(header, arrays)


def with_header(change: Change) -> bytes:
    header, arrays = taken_apart(written())
    change(header)
    return put_together(header, arrays)


def refusal(data: bytes) -> BundleProblem:
    with pytest.raises(InvalidBundle) as refused:
        read(data)
    assert refused.value.detail
    return refused.value.reason


def test_what_was_written_is_read_again() -> None:
    assert read(written()) == bundle()
    assert read(written()).digest == bundle().digest


def test_the_same_bundle_is_the_same_bytes() -> None:
    assert write(a_bundle()) == written() == write(read(written()))


def test_a_bundle_without_priors_judges_as_its_parameters_do() -> None:
    plain = read(write(Bundle("plain")))
    assert plain == Bundle("plain")
    assert plain.digest == WatchConfig().digest


def test_limits_without_end_and_all_parameters_survive() -> None:
    quality = QualityLimits(ranges=(PhysicalRange("temp*", low=-40.0), PhysicalRange("*", high=1e9)))
    chosen = Bundle("chosen", config=WatchConfig(NoveltyParameters(warm_up=300), quality=quality))
    assert read(write(chosen)) == chosen


def test_the_digest_names_the_judgement_not_the_name() -> None:
    assert replace(bundle(), name="other", created_at=0).digest == bundle().digest
    assert replace(bundle(), config=WatchConfig(accept_after_s=60.0)).digest != bundle().digest
    assert replace(bundle(), priors={"temperature": bundle().priors["pressure"]}).digest != bundle().digest


def test_other_programs_can_open_it(tmp_path: Path) -> None:
    """It is a plain safetensors file."""
    save(bundle(), tmp_path / "pumps.bundle")
    with safe_open(tmp_path / "pumps.bundle", framework="np") as file:
        assert sorted(file.keys()) == [
            "pressure/deviation-raw", "pressure/deviation-slow", "pressure/raw", "pressure/slow",
            "temperature/raw", "temperature/slow",
        ]  # fmt: skip
        assert json.loads(file.metadata()["manifest"])["name"] == "pumps-2026"


def test_a_file_appears_complete_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pumps.bundle"
    save(Bundle("before"), path)
    monkeypatch.setattr(container, "write", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save(bundle(), path)
    assert load(path) == Bundle("before")
    assert [file.name for file in tmp_path.iterdir()] == ["pumps.bundle"]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_byte_flip_is_refused_or_gives_the_same_bundle(data: st.DataObject) -> None:
    damaged = bytearray(written())
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))
    try:
        assert read(bytes(damaged)) == bundle()
    except InvalidBundle as refused:
        assert refused.reason in BundleProblem


def test_every_flip_in_an_array_is_refused_by_digest() -> None:
    length = struct.unpack_from("<Q", written())[0]
    for place in range(8 + length, len(written()), 97):
        damaged = bytearray(written())
        damaged[place] ^= 0x03
        assert refusal(bytes(damaged)) is BundleProblem.DIGEST


@given(st.binary(max_size=4096))
@example(b"")
@example(b"\xff" * 8)
@example(struct.pack("<Q", 2) + b"[]")
@example(struct.pack("<Q", 2) + b"{}")
@example(struct.pack("<Q", 60_000) + b"[" * 60_000)
@example(struct.pack("<Q", 13) + b'{"a":{"b":1}}')
@example(struct.pack("<Q", 26) + b'{"a":{"data_offsets":[0]}}')
def test_bytes_of_any_kind_are_refused(data: bytes) -> None:
    assert refusal(data) in {BundleProblem.NOT_A_BUNDLE, BundleProblem.SIZE}


@pytest.mark.parametrize("cut", [1, 500, PRIOR_CELLS])
def test_missing_and_additional_bytes_are_refused(cut: int) -> None:
    assert refusal(written()[:-cut]) is BundleProblem.SIZE
    assert refusal(written() + bytes(cut)) is BundleProblem.SIZE


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.bundle"
    with huge.open("wb") as file:
        file.truncate(100 * BUNDLE_BYTES_MAX)
    with pytest.raises(InvalidBundle) as refused:
        load(huge)
    assert refused.value.reason is BundleProblem.TOO_LARGE


def test_a_bundle_that_would_be_too_large_is_not_written() -> None:
    ranges = tuple(PhysicalRange(f"{number:0200}*", 0.0, 1.0) for number in range(20_000))
    with pytest.raises(InvalidBundle, match="too_large"):
        write(Bundle("endless", config=WatchConfig(quality=QualityLimits(ranges=ranges))))


HEADERS: list[tuple[BundleProblem, Change]] = [
    (BundleProblem.NOT_A_BUNDLE, lambda header: header.pop("__metadata__")),
    (BundleProblem.NOT_A_BUNDLE, lambda header: header["__metadata__"].pop("sha256")),
    (BundleProblem.NOT_A_BUNDLE, lambda header: header.update(__metadata__=[])),
    (BundleProblem.DIGEST, lambda header: header["__metadata__"].update(sha256="0" * 64)),
    (BundleProblem.DIGEST, lambda header: header["__metadata__"].update(manifest="\ud800")),
    (BundleProblem.DTYPE, lambda header: header["pressure/raw"].update(dtype="I8")),
    (BundleProblem.SHAPE, lambda header: header["pressure/raw"].update(shape=[5, 205])),
    (BundleProblem.NOT_A_BUNDLE, lambda header: header["pressure/raw"].update(data_offsets=[7, 1025])),
    (BundleProblem.MISSING_ARRAY, lambda header: header.update({"x/raw": header.pop("pressure/raw")})),
    (BundleProblem.UNKNOWN_ARRAY, lambda header: header.update({"x/raw": header["pressure/raw"]})),
    (BundleProblem.NOT_A_BUNDLE, lambda header: header.update({"pressure/raw": 5})),
]


@pytest.mark.parametrize(("problem", "change"), HEADERS)
def test_each_change_of_the_header_is_refused_by_name(problem: BundleProblem, change: Change) -> None:
    assert refusal(with_header(change)) is problem


MANIFESTS: list[tuple[BundleProblem, Change]] = [
    (BundleProblem.SCHEMA_VERSION, lambda fields: fields.update(schema="plantwatch.bundle/2")),
    (BundleProblem.SCHEMA_VERSION, lambda fields: fields.pop("schema")),
    (BundleProblem.CONFIG, lambda fields: fields.update(detector="novelty/9")),
    (BundleProblem.CONFIG, lambda fields: fields["config"].update(accept_after_s=-1.0)),
    (BundleProblem.CONFIG, lambda fields: fields["config"].update(accept_after_s=10**400)),
    (BundleProblem.CONFIG, lambda fields: fields["config"].update(unheard_of=1)),
    (BundleProblem.CONFIG, lambda fields: fields["config"]["detector"].update(warm_up="soon")),
    (BundleProblem.CONFIG, lambda fields: fields["config"].update(detector=[])),
    (BundleProblem.MANIFEST, lambda fields: fields.pop("name")),
    (BundleProblem.MANIFEST, lambda fields: fields.update(name="../../etc")),
    (BundleProblem.MANIFEST, lambda fields: fields.update(created_at=1.5)),
    (BundleProblem.MANIFEST, lambda fields: fields.update(created_at=True)),
    (BundleProblem.MANIFEST, lambda fields: fields.update(priors=[])),
    (BundleProblem.MANIFEST, lambda fields: fields["training"].update(sources=[1])),
    (BundleProblem.MANIFEST, lambda fields: fields["training"].update(sources=["x" * 300])),
    (BundleProblem.MANIFEST, lambda fields: fields["calibration"].update(scores=[[1.0]])),
    (BundleProblem.MANIFEST, lambda fields: fields["calibration"].update(scores=[[1.0, "x"]])),
    (BundleProblem.MANIFEST, lambda fields: fields["priors"]["pressure"].pop("low")),
    (BundleProblem.MANIFEST, lambda fields: fields["priors"].update(pressure=1)),
    (BundleProblem.VALUE, lambda fields: fields["priors"]["pressure"].update(inverse=0.0)),
    (BundleProblem.VALUE, lambda fields: fields["priors"]["pressure"].update(low=10**400)),
    (BundleProblem.VALUE, lambda fields: fields["priors"]["pressure"]["raw"].update(variance=-1.0)),
    (BundleProblem.VALUE, lambda fields: fields["priors"]["pressure"]["raw"].update(count=1e9)),
    (BundleProblem.MISSING_ARRAY, lambda fields: fields["arrays"].pop("pressure/raw")),
    (BundleProblem.MISSING_ARRAY, lambda fields: fields["priors"].update(flow=fields["priors"]["pressure"])),
    (BundleProblem.UNKNOWN_ARRAY, lambda fields: fields["priors"].pop("pressure")),
    (BundleProblem.UNKNOWN_ARRAY, lambda fields: fields["arrays"].update(other="")),
    (BundleProblem.DIGEST, lambda fields: fields["arrays"].update({"pressure/raw": "0" * 64})),
]


@pytest.mark.parametrize(("problem", "change"), MANIFESTS)
def test_each_change_of_the_manifest_is_refused_by_name(problem: BundleProblem, change: Change) -> None:
    assert refusal(forged(change)) is problem


def numbers_in(fields: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all numbers of a manifest."""
    if isinstance(fields, dict | list):
        items = fields.items() if isinstance(fields, dict) else enumerate(fields)
        return [found for key, value in items for found in numbers_in(value, (*path, key))]
    return [path] if isinstance(fields, int | float) else []


PATHS = st.deferred(lambda: st.sampled_from(numbers_in(manifest.to_manifest(bundle()))))


@settings(max_examples=300, deadline=None)
@given(PATHS, st.sampled_from([0, -1, 1, 2.5, 1e-300, 1e9, 10**18, 10**30, 1e300, -1e308, 10**400, "inf", "nan", None]))
def test_a_bundle_with_any_number_is_refused_or_judges(path: tuple[Any, ...], number: Any) -> None:
    """And what it says of a reading can be sent."""

    def change(fields: Any) -> None:
        for key in path[:-1]:
            fields = fields[key]
        fields[path[-1]] = number

    try:
        machines = Machines.of(read(forged(change)))
    except InvalidBundle as refused:
        assert refused.reason in BundleProblem
        return
    scored = []
    for turn, value in enumerate([*running(1, 60, 62.0), *running(1, 40, 90.0)]):
        at = START + 1000 * turn
        signals = {"temperature": value, "pressure": value / 10, "other": value}
        scored.append(machines.watch(Reading("acme", "pump-1", at, at, signals, gateway="g", epoch=1, sequence=turn)))
    assert envelope.encode(scored, epoch=1, bundle=machines.bundle)
    machines.restore(machines.snapshot())


def test_not_a_number_is_no_number() -> None:
    header, arrays = taken_apart(written())
    text = header["__metadata__"]["manifest"].replace('"expected_alerts_per_day":4.0', '"expected_alerts_per_day":NaN')
    header["__metadata__"] = {"manifest": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    assert refusal(put_together(header, arrays)) is BundleProblem.MANIFEST


def test_cells_that_no_prior_can_have_are_refused() -> None:
    header, arrays = taken_apart(written())
    cells = bytes([1]) * PRIOR_CELLS
    begin, end = header["pressure/raw"]["data_offsets"]
    fields = json.loads(header["__metadata__"]["manifest"])
    fields["arrays"]["pressure/raw"] = hashlib.sha256(cells).hexdigest()
    text = json.dumps(fields)
    header["__metadata__"] = {"manifest": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    assert refusal(put_together(header, arrays[:begin] + cells + arrays[end:])) is BundleProblem.VALUE


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"name": "a b"}, {"machine_type": "pump/1"}, {"training": Training("", 1, 1, 0, 0, ("x" * 256,))}],
)
def test_a_bundle_that_could_not_be_read_again_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"allowed|at most"):
        replace(bundle(), **wrong)
