"""Objects by name with conditional writes: what the registry and the training data need of S3, or of a folder.

Two implementations pass one contract: `FolderStore` for a laptop, `S3Store` for a bucket. A conditional write is the
only kind there is, so that no writer ever replaces what it has not read.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from plantwatch.files import written_whole
from plantwatch.ports import DeliveryFailed

# A bundle of 256 signals is below 2 MB and a lake's object below 5 MB; more is something else.
OBJECT_BYTES_MAX: Final = 64 * 1024 * 1024
_S3: Final = "s3://"
_LOCK: Final = ".lock"
_NOT_THERE: Final = frozenset({"NoSuchKey", "404", "NotFound"})
# S3 answers 412, and 409 where two conditional writes overlap.
_CONDITION_FAILED: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})


class Stored(NamedTuple):
    """An object's content and the tag that a conditional replacement has to name."""

    body: bytes
    etag: str


class InvalidPlace(ValueError):
    """A place or a name that no object can be kept under: it is none, or the service says no. The message says why."""


class ObjectStore(Protocol):
    """Named objects. Methods raise DeliveryFailed where the store is out of reach, InvalidPlace where it says no."""

    @property
    def place(self) -> str:
        """The store's name for people: s3://BUCKET/PREFIX or a folder."""

    def get(self, name: str) -> Stored | None:
        """The object, or None where there is none."""

    def put_new(self, name: str, body: bytes) -> bool:
        """Write an object that is not there yet; False, and nothing changed, where it is."""

    def replace(self, name: str, body: bytes, *, etag: str) -> bool:
        """Write over what has this tag; False, and nothing changed, where somebody else was first."""

    def names(self, prefix: str) -> Iterator[str]:
        """The names that begin with `prefix`, sorted."""


def store_at(place: str) -> ObjectStore:
    """The store that `place` names: `s3://BUCKET[/PREFIX]`, or else a folder."""
    if not place.startswith(_S3):
        return FolderStore(Path(place))
    bucket, _, prefix = place.removeprefix(_S3).partition("/")
    if not bucket:
        raise InvalidPlace(f"{place!r} names no bucket")
    from plantwatch.aws.clients import client

    return S3Store(client("s3"), bucket, prefix)


class FolderStore:
    """Objects as files below one folder. Writers of one machine take turns; a reader never sees half a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def place(self) -> str:
        return str(self._folder)

    def get(self, name: str) -> Stored | None:
        try:
            with self._path(name).open("rb") as file:
                body = _bounded(file.read(OBJECT_BYTES_MAX + 1), name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise DeliveryFailed(f"could not read {name} in {self._folder}: {error.strerror}") from error
        return Stored(body, _etag(body))

    def put_new(self, name: str, body: bytes) -> bool:
        return self._write(name, body, expected=None)

    def replace(self, name: str, body: bytes, *, etag: str) -> bool:
        return self._write(name, body, expected=etag)

    def names(self, prefix: str) -> Iterator[str]:
        # Only the folders that the prefix leads to: a lake has a folder for each day.
        start = self._folder / prefix.rpartition("/")[0]
        found = (path.relative_to(self._folder).as_posix() for path in start.rglob("*") if path.is_file())
        return iter(sorted(name for name in found if name.startswith(prefix) and not _is_ours(name)))

    def _write(self, name: str, body: bytes, *, expected: str | None) -> bool:
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._turn():
                known = self.get(name)
                if (known and known.etag) != expected:
                    return False
                with written_whole(path) as unfinished:
                    unfinished.write_bytes(body)
                return True
        except OSError as error:
            raise DeliveryFailed(f"could not write {name} in {self._folder}: {error.strerror}") from error

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One writer at a time, also among processes; the lock goes with the process that held it."""
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> Path:
        if not name or any(part in {"", ".", ".."} for part in name.split("/")):
            raise InvalidPlace(f"{name!r} is no object's name")
        return self._folder / name


class S3Store:
    """Objects of one bucket below a prefix. `s3` is a boto3 client."""

    def __init__(self, s3: Any, bucket: str, prefix: str = "") -> None:
        self._s3 = s3
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @property
    def place(self) -> str:
        return f"{_S3}{self._bucket}/{self._prefix}"

    def get(self, name: str) -> Stored | None:
        answer = self._call("read", name, self._s3.get_object, unless=_NOT_THERE)
        if answer is None:
            return None
        return Stored(_bounded(answer["Body"].read(OBJECT_BYTES_MAX + 1), name), answer["ETag"])

    def put_new(self, name: str, body: bytes) -> bool:
        return self._put(name, body, IfNoneMatch="*")

    def replace(self, name: str, body: bytes, *, etag: str) -> bool:
        return self._put(name, body, IfMatch=etag)

    def names(self, prefix: str) -> Iterator[str]:
        from plantwatch.aws.clients import Refused
        from plantwatch.aws.lake import list_keys

        try:
            for key in list_keys(self._s3, self._bucket, self._prefix + prefix):
                yield key.removeprefix(self._prefix)
        except Refused as error:
            raise InvalidPlace(str(error)) from None

    def _put(self, name: str, body: bytes, **condition: str) -> bool:
        # What was to be replaced may be gone meanwhile: somebody else was first too.
        unless = _CONDITION_FAILED | _NOT_THERE
        return self._call("write", name, self._s3.put_object, unless=unless, Body=body, **condition) is not None

    def _call(self, doing: str, name: str, call: Any, *, unless: frozenset[str], **arguments: Any) -> Any:
        """What the service answers; None for one of the errors named in `unless`."""
        from botocore.exceptions import ClientError

        from plantwatch.aws.clients import Refused, error_code, service_errors

        key = self._prefix + name
        try:
            with service_errors(f"{doing} s3://{self._bucket}/{key}"):
                try:
                    return call(Bucket=self._bucket, Key=key, **arguments)
                except ClientError as error:
                    if error_code(error) in unless:
                        return None
                    raise
        except Refused as error:
            raise InvalidPlace(str(error)) from None


def _bounded(body: bytes, name: str) -> bytes:
    if len(body) > OBJECT_BYTES_MAX:
        raise InvalidPlace(f"{name} is larger than {OBJECT_BYTES_MAX} bytes")
    return body


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _is_ours(name: str) -> bool:
    """A lock, or a file that is being written."""
    return name.rpartition("/")[2].startswith(".")
