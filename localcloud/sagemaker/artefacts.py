"""Model archives and data, from and to the emulated S3.

An archive is unpacked by our own few lines: regular files only, below one folder, and no more than fits a laptop.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

# A bundle is at most 4 MB; batch transform's objects and training data are what a laptop's demo has.
ARCHIVE_BYTES_MAX: Final = 256 * 2**20
OBJECT_BYTES_MAX: Final = 1024 * 2**20
OBJECTS_MAX: Final = 10_000


class ArtefactProblem(Exception):
    """An object that is not there, cannot be read, or is not what it should be; in one line."""


class Location(NamedTuple):
    """s3://BUCKET/KEY, where KEY may be a prefix."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def location(uri: str) -> Location:
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ArtefactProblem(f"{uri!r} is no s3://BUCKET/KEY")
    return Location(bucket, key)


class Artefacts:
    """Objects of one S3. Every error is an ArtefactProblem."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3

    def exists(self, where: Location) -> bool:
        try:
            self._s3.head_object(Bucket=where.bucket, Key=where.key)
        except ClientError:
            return False
        except BotoCoreError as error:
            raise ArtefactProblem(f"S3: {error}") from None
        return True

    def read(self, where: Location) -> bytes:
        try:
            answer = self._s3.get_object(Bucket=where.bucket, Key=where.key)
            if answer["ContentLength"] > OBJECT_BYTES_MAX:
                raise ArtefactProblem(f"{where} has {answer['ContentLength']} bytes; at most {OBJECT_BYTES_MAX}")
            data: bytes = answer["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise ArtefactProblem(f"cannot read {where}: {error}") from None
        return data

    def write(self, where: Location, data: bytes) -> None:
        try:
            self._s3.put_object(Bucket=where.bucket, Key=where.key, Body=data)
        except (ClientError, BotoCoreError) as error:
            raise ArtefactProblem(f"cannot write {where}: {error}") from None

    def below(self, prefix: Location) -> list[str]:
        """The keys that begin with a prefix, folders' placeholders left out. ArtefactProblem where there is none."""
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
            keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        except (ClientError, BotoCoreError) as error:
            raise ArtefactProblem(f"cannot list {prefix}: {error}") from None
        keys = sorted(key for key in keys if not key.endswith("/"))
        if not keys:
            raise ArtefactProblem(f'No S3 objects found under S3 URL "{prefix}" given in input data source.')
        if len(keys) > OBJECTS_MAX:
            raise ArtefactProblem(f"{len(keys)} objects under {prefix}; at most {OBJECTS_MAX}")
        return keys


def relative(key: str, prefix: str) -> str:
    """The part of a key below its prefix's last folder: what an output or a local file is called by."""
    return key[prefix.rfind("/") + 1 :]


def unpack(archive: bytes, folder: Path) -> None:
    """A model.tar.gz into a folder. ArtefactProblem for anything in it that does not belong there."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as packed:
            _extract(packed, folder)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ArtefactProblem(f"the model archive is no tar.gz: {error}") from None


def pack(folder: Path) -> bytes:
    """A folder's files as a model.tar.gz, the same bytes for the same files."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as packed,
    ):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            data = path.read_bytes()
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _extract(packed: tarfile.TarFile, folder: Path) -> None:
    left = ARCHIVE_BYTES_MAX
    for member in _files(packed):
        left -= member.size
        if left < 0:
            raise ArtefactProblem(f"the model archive holds more than {ARCHIVE_BYTES_MAX} bytes")
        path = folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = packed.extractfile(member)
        assert content is not None, "a regular file has content"
        path.write_bytes(content.read())


def _files(packed: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in packed:
        parts = PurePosixPath(member.name).parts
        if member.isdir():
            continue
        if not member.isfile() or member.name.startswith("/") or ".." in parts:
            raise ArtefactProblem(f"the model archive holds {member.name[:100]!r}, which is no file below it")
        yield member
