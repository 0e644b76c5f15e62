"""Where pictures and simulator states of clips are kept: blobs named by the digest of their bytes."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.preferences.labelling.types import LabellingError, UnavailableError
from envs.files import sync_folder, write_durably

MAX_BYTES = 64 * 2**20
"""of one blob; a sheet of 60 frames has about 0.2 MiB"""

_SHA = re.compile(r"[0-9a-f]{64}")
# A person waits for these: the libraries' own limits add up to minutes while a server is down.
_S3_CONFIG = {"connect_timeout": 4, "read_timeout": 15, "retries": {"max_attempts": 2, "mode": "standard"}}


class MissingMediaError(LabellingError):
    """The storage works, and has no such blob."""


class DamagedMediaError(MissingMediaError):
    """A blob is there, and is not what was stored."""


class MediaStorage:
    """Blobs in a folder, or under a prefix of an fsspec file system; safe from several threads.

    Every method raises UnavailableError when the storage cannot be used now. A blob is there whole or
    not at all, and in a folder it survives a power cut.
    """

    def __init__(self, url: str, root: str, remote: Any = None) -> None:
        self.url = url
        self._root, self._remote = root.rstrip("/"), remote

    def __repr__(self) -> str:
        return f"MediaStorage({self.url!r})"

    def put(self, content: bytes) -> str:
        """Stores a blob; returns its sha256, which is its name. What is there is written again: it may be
        damaged. Raises LabellingError for an empty or huge one."""
        if not 0 < len(content) <= MAX_BYTES:
            raise LabellingError(f"a blob has 1 to {MAX_BYTES} bytes, this one has {len(content)}")
        sha = hashlib.sha256(content).hexdigest()
        path = self._path(sha)
        with self._explained("write to"):
            if self._remote is None:
                _write_into_new_folder(Path(path), content)
            else:
                self._remote.pipe_file(path, content)
        return sha

    def get(self, sha: str) -> bytes:
        """The blob of that name. Raises MissingMediaError, DamagedMediaError for bytes that changed."""
        path = self._path(sha)
        content = b""
        try:
            with self._explained("read from"):
                content = self._read(path)
        except FileNotFoundError:
            self._expect_root()
            raise MissingMediaError(f"the media {sha} are gone from {self.url}") from None
        if hashlib.sha256(content).hexdigest() != sha:
            raise DamagedMediaError(f"the media {sha} in {self.url} are damaged")
        return content

    def exists(self, sha: str) -> bool:
        """Whether there is a blob of that name; its bytes are not looked at."""
        path = self._path(sha)
        with self._explained("read from"):
            return Path(path).is_file() if self._remote is None else bool(self._remote.exists(path))

    def delete(self, sha: str) -> None:
        """Removes a blob, if it is there."""
        path = self._path(sha)
        try:
            with self._explained("delete from"):
                if self._remote is None:
                    Path(path).unlink(missing_ok=True)
                else:
                    self._remote.rm_file(path)
        except FileNotFoundError:
            pass

    def check(self) -> None:
        """Writes and reads a small blob. Raises UnavailableError where that does not work."""
        self.get(self.put(b"surefoot media storage\n"))

    def _path(self, sha: str) -> str:
        # The name may come from a request: nothing but a digest may reach the file system.
        if not _SHA.fullmatch(sha):
            raise MissingMediaError("media are named by 64 hexadecimal digits")
        return f"{self._root}/{sha[:2]}/{sha}"

    def _read(self, path: str) -> bytes:
        if self._remote is None:
            with Path(path).open("rb") as stream:
                return stream.read(MAX_BYTES + 1)
        return bytes(self._remote.cat_file(path, start=0, end=MAX_BYTES + 1))

    def _expect_root(self) -> None:
        """A blob that is gone is one thing; a folder not mounted or a bucket not made is another."""
        if self._remote is None:
            there = Path(self._root).is_dir()
        else:
            with self._explained("read from"):
                there = not self.url.startswith("s3:") or self._remote.exists(self._root.split("/")[0])
        if not there:
            raise UnavailableError(f"{self.url} is not there: make it, or mount it")

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if what != "write to":
                raise
            raise UnavailableError(f"cannot {what} {self.url}: {error}; make it first") from error
        except Exception as error:  # each remote file system raises what its own library raises
            raise UnavailableError(f"cannot {what} {self.url}: {_reason(error)}") from error


def open_storage(url_or_path: str) -> MediaStorage:
    """The storage at a folder, "file:///folder", "s3://bucket/prefix" or another address that fsspec knows.

    Nothing is made or asked yet. S3 takes its keys and its endpoint from the usual AWS_* variables.
    Raises LabellingError for an address that nothing here can open.
    """
    protocol, separator, rest = url_or_path.partition("://")
    if not separator:
        protocol, rest = "file", url_or_path
    if not rest.strip("/") and protocol != "memory":
        raise LabellingError(f"{url_or_path!r} names no place for media: give a folder or s3://bucket/prefix")
    if protocol == "file":
        folder = Path(rest).expanduser().absolute()
        return MediaStorage(str(folder), str(folder))
    return MediaStorage(url_or_path, rest.rstrip("/"), _remote(protocol, url_or_path))


def _remote(protocol: str, url: str) -> Any:
    import fsspec  # type: ignore[import-untyped]  # it has no annotations

    # Listings that are kept would hide what another process wrote, and a kept instance a new endpoint.
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if protocol == "s3":
        options["config_kwargs"] = _S3_CONFIG
    try:
        system = fsspec.filesystem(protocol, **options)
    except ImportError as error:
        fix = "pip install 'surefoot[s3]'" if protocol == "s3" else str(error)
        raise LabellingError(f"{url} needs a package that is not installed: {fix}") from error
    except ValueError as error:
        raise LabellingError(f"media cannot be kept at {url!r}: {error}") from error
    if protocol == "s3":
        system.retries = 2  # on top of those of _S3_CONFIG
    return system


def _write_into_new_folder(path: Path, content: bytes) -> None:
    """Makes the folder where it is missing; both are durable."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent.parent)
    write_durably(path, content)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: make room; nothing was stored"
    if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError):
        return f"{error.strerror or error}; let this user read and write there"
    return f"{type(error).__name__}: {error}"[:300]
