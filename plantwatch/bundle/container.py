"""The file of a bundle: one safetensors file, whose metadata hold the manifest and the manifest's SHA-256.

    length of the header (8 bytes) | header (JSON: metadata, and of each array type, shape and place) | arrays

Nothing in it is ever executed. Sizes are known before anything is read; every byte that matters is under the manifest's
digest or, for the arrays, under one that the manifest holds. A digest tells damage and carelessness, not an adversary:
who can write the file can write another digest, and is found out where the bundle's `digest` is compared.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, deserialize

from plantwatch.bundle import manifest
from plantwatch.bundle.model import Bundle, BundleProblem, InvalidBundle
from plantwatch.detectors.prior import PRIOR_CELLS
from plantwatch.files import written_whole

# 256 signals of two views of 1 kB, 1 kB of manifest each, and the names of 1,000 sources: under 1 MB.
BUNDLE_BYTES_MAX: Final = 4 * 1024 * 1024
SUFFIX: Final = ".bundle"

_LENGTH: Final = struct.Struct("<Q")
_DTYPE: Final = "U8"
_SHAPE: Final = [PRIOR_CELLS]
_METADATA: Final = "__metadata__"
_ALIGNMENT: Final = 8


def load(path: Path) -> Bundle:
    """The bundle in a file. InvalidBundle, or OSError where it cannot be read."""
    with path.open("rb") as file:
        return read(file.read(BUNDLE_BYTES_MAX + 1))


def read(data: bytes) -> Bundle:
    """The bundle whose file has these bytes. InvalidBundle says what is wrong with them."""
    if len(data) > BUNDLE_BYTES_MAX:
        raise InvalidBundle(BundleProblem.TOO_LARGE, f"over {BUNDLE_BYTES_MAX} bytes")
    header = _header(data)
    fields = _manifest(header)
    _check_arrays(header, fields)
    return manifest.from_manifest(fields, _arrays(data, fields["arrays"]))


def write(bundle: Bundle) -> bytes:
    """The file's bytes; the same for the same bundle. InvalidBundle where they are too many."""
    text = manifest.canonical(manifest.to_manifest(bundle))
    arrays = manifest.arrays_of(bundle)
    header: dict[str, Any] = {_METADATA: {"manifest": text, "sha256": _sha256(text.encode())}}
    for place, name in enumerate(arrays):
        offsets = [place * PRIOR_CELLS, (place + 1) * PRIOR_CELLS]
        header[name] = {"dtype": _DTYPE, "shape": _SHAPE, "data_offsets": offsets}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % _ALIGNMENT)
    data = b"".join([_LENGTH.pack(len(encoded)), encoded, *arrays.values()])
    if len(data) > BUNDLE_BYTES_MAX:
        raise InvalidBundle(BundleProblem.TOO_LARGE, f"{len(data)} bytes; at most {BUNDLE_BYTES_MAX}")
    return data


def save(bundle: Bundle, path: Path) -> None:
    """The bundle as a file, which appears complete or not at all. OSError where the disk refuses."""
    data = write(bundle)
    with written_whole(path) as unfinished:
        unfinished.write_bytes(data)


def _header(data: bytes) -> dict[str, Any]:
    try:
        length = _LENGTH.unpack_from(data)[0]
        header = json.loads(data[_LENGTH.size : _LENGTH.size + min(length, len(data))])
        stated = [item["data_offsets"][1] for name, item in header.items() if name != _METADATA]
        end = _LENGTH.size + length + max(stated, default=0)
    except (struct.error, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise InvalidBundle(BundleProblem.NOT_A_BUNDLE, f"no safetensors file: {type(error).__name__}") from None
    if end != len(data):
        raise InvalidBundle(BundleProblem.SIZE, f"{len(data)} bytes; its header says {end}")
    return header  # type: ignore[no-any-return]


def _manifest(header: Mapping[str, Any]) -> dict[str, Any]:
    metadata = header.get(_METADATA)
    if not isinstance(metadata, dict) or not all(type(metadata.get(key)) is str for key in ("manifest", "sha256")):
        raise InvalidBundle(BundleProblem.NOT_A_BUNDLE, "a safetensors file without a manifest")
    text = metadata["manifest"]
    if _sha256(text.encode("utf-8", "surrogatepass")) != metadata["sha256"]:
        raise InvalidBundle(BundleProblem.DIGEST, "the manifest is not the one that was written")
    fields = manifest.parse(text)
    for name in ("arrays", "priors", "deviations"):
        if not isinstance(fields.get(name), dict):
            raise InvalidBundle(BundleProblem.MANIFEST, f"{name} is no object")
    return fields


def _check_arrays(header: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Exactly the arrays that the priors need, each as its kind demands."""
    wanted = {
        manifest.array_name(signal, view)
        for known, views in (("priors", manifest.OF_SIGNAL), ("deviations", manifest.OF_DEVIATION))
        for signal in fields[known]
        for view in views
    }
    found = set(header) - {_METADATA}
    for problem, names in (
        (BundleProblem.MISSING_ARRAY, wanted - (found & set(fields["arrays"]))),
        (BundleProblem.UNKNOWN_ARRAY, (found | set(fields["arrays"])) - wanted),
    ):
        if names:
            raise InvalidBundle(problem, min(names))
    for name in sorted(wanted):
        dtype, shape = header[name].get("dtype"), header[name].get("shape")
        if dtype != _DTYPE:
            raise InvalidBundle(BundleProblem.DTYPE, f"{name}: {dtype!r}; expected {_DTYPE!r}")
        if shape != _SHAPE:
            raise InvalidBundle(BundleProblem.SHAPE, f"{name}: {shape!r}; expected {_SHAPE!r}")


def _arrays(data: bytes, digests: Mapping[str, Any]) -> dict[str, bytes]:
    try:
        arrays = {name: bytes(item["data"]) for name, item in deserialize(data)}  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise InvalidBundle(BundleProblem.NOT_A_BUNDLE, str(error)) from None
    for name, cells in arrays.items():
        if _sha256(cells) != digests[name]:
            raise InvalidBundle(BundleProblem.DIGEST, f"{name} is not the array that was written")
    return arrays


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
