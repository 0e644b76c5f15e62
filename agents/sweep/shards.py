"""A dataset in pieces, for training on several machines: each fetches its own pieces and no others.

<place>/shards.json          written last: the names, files, sizes and digests of all shards
        shard-00000/…        an EpisodeDataset each: data.bin, index.jsonl, dataset.json, perhaps collect.json

The place is a folder, or s3://bucket/prefix or another address that fsspec knows. Which episode is in which
shard follows from its id: the same dataset gives the same shards.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from envs.dataset import EpisodeDataset
from envs.files import sync_folder

logger = logging.getLogger(__name__)
Value = TypeVar("Value")

MANIFEST = "shards.json"
TRIES, WAIT_SECONDS = 4, 0.5
CHUNK = 1 << 22
_S3_CONFIG = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 2, "mode": "standard"}}


class ShardError(RuntimeError):
    """A shard is missing, damaged or out of reach; the message says which, and what to do."""


@dataclass(frozen=True)
class Shard:
    """files: {name: {"bytes": …, "sha256": …}}."""

    name: str
    episodes: int
    files: Mapping[str, Mapping[str, Any]]

    @property
    def folder(self) -> str:
        """Name on a machine that fetched it; other content has another."""
        told = json.dumps(self.files, sort_keys=True).encode()
        return f"{self.name}-{hashlib.sha256(told).hexdigest()[:12]}"


def write_shards(dataset: Path, place: str, count: int) -> list[Shard]:
    """Cuts a dataset into `count` shards of about one size at `place`. Killed, the same call does it again.

    Raises ShardError when there are fewer episodes than shards, or the place cannot be written.
    """
    system, root = _open(place)
    shards = []
    with EpisodeDataset(dataset, read_only=True) as whole, tempfile.TemporaryDirectory() as temporary:
        # In the order of their ids: the shards are of one size, whoever recorded what when.
        ids = sorted(whole.ids)
        if not 1 <= count <= len(ids):
            raise ShardError(f"{dataset} has {len(ids)} episodes: they do not make {count} shards")
        for number in range(count):
            name = f"shard-{number:05d}"
            folder = Path(temporary) / name
            with EpisodeDataset(folder, durable=False) as piece:
                for id in ids[number::count]:
                    piece.append(whole[id])
            (folder / "lock").unlink(missing_ok=True)
            if (dataset / "collect.json").exists():
                shutil.copy(dataset / "collect.json", folder)
            files = {file.name: _describe(file) for file in sorted(folder.iterdir())}
            shards.append(Shard(name, len(ids[number::count]), files))
            for file in sorted(folder.iterdir()):
                _put(system, file, f"{root}/{name}/{file.name}")
            shutil.rmtree(folder)
        manifest = Path(temporary) / MANIFEST
        content = [{"name": one.name, "episodes": one.episodes, "files": one.files} for one in shards]
        about = {"world": _world(dataset), "shards": content}
        manifest.write_text(json.dumps(about, indent=1), encoding="utf-8")
        _put(system, manifest, f"{root}/{MANIFEST}")
    return shards


def read_shards(place: str) -> list[Shard]:
    """Raises ShardError where there are none."""
    system, root = _open(place)
    try:
        content = _tried(lambda: system.cat_file(f"{root}/{MANIFEST}"), f"read {place}")
        return [Shard(**one) for one in json.loads(content)["shards"]]
    except FileNotFoundError:
        raise ShardError(
            f"{place} has no {MANIFEST}: make it with `surefoot shard DATASET {place}`"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{place}/{MANIFEST} is damaged ({error}): make the shards again") from error


def world_of(place: str) -> str:
    """The kind of world that the drives are from; "" where nothing says it."""
    read_shards(place)  # which tells what is wrong with it
    system, root = _open(place)
    return str(json.loads(system.cat_file(f"{root}/{MANIFEST}")).get("world", ""))


def default_cache() -> Path:
    """In the user's own cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surefoot" / "shards"


def own_shards(shards: Sequence[Shard], rank: int, count: int) -> list[Shard]:
    """Those of one process of `count`. Raises ShardError when they cannot be shared evenly."""
    if len(shards) % count:
        told = f"{len(shards)} shards cannot be shared evenly by {count} processes"
        raise ShardError(f"{told}: make a multiple of them with `surefoot shard`")
    return list(shards[rank::count])


def fetch_shards(place: str, shards: Sequence[Shard], cache: Path) -> list[Path]:
    """Folders of these shards on this machine, each with its digests as written; what is there is not fetched
    again. Raises ShardError for one that is missing or has other bytes; nothing half-fetched stays."""
    system, root = _open(place)
    cache.mkdir(parents=True, exist_ok=True)
    return [_fetch(system, f"{root}/{shard.name}", shard, cache, place) for shard in shards]


def _fetch(system: Any, source: str, shard: Shard, cache: Path, place: str) -> Path:
    target = cache / shard.folder
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{shard.name}-") as temporary:
        folder = Path(temporary) / shard.name
        folder.mkdir()
        for name, wanted in shard.files.items():
            path = f"{shard.name}/{name}"
            _fetch_file(system, f"{source}/{name}", folder / Path(name).name, wanted, f"{place}/{path}")
        sync_folder(folder)
        try:
            folder.rename(target)
        except OSError:
            if not target.exists():  # another process was faster
                raise
    sync_folder(cache)
    return target


def _fetch_file(system: Any, source: str, file: Path, wanted: Mapping[str, Any], name: str) -> None:
    try:
        _tried(lambda: system.get_file(source, str(file)), f"read {name}")
    except FileNotFoundError:
        raise ShardError(f"{name} is missing: bring it back, or make the shards again") from None
    found = _describe(file)
    if found != dict(wanted):
        raise ShardError(
            f"{name} has {found['bytes']} bytes of digest {found['sha256'][:12]}, {MANIFEST} says "
            f"{wanted['bytes']} of {wanted['sha256'][:12]}: it was changed or cut; make the shards again"
        )


def _put(system: Any, file: Path, target: str) -> None:
    try:
        _tried(lambda: system.put_file(str(file), target), f"write {target}")
    except FileNotFoundError as error:
        raise ShardError(f"{target} cannot be written: {error}; make the bucket or folder first") from error


def _tried(act: Callable[[], Value], what: str) -> Value:
    """What `act` returns, tried a few times. Raises FileNotFoundError at once, ShardError in the end."""
    for attempt in range(1, TRIES + 1):
        try:
            return act()
        except FileNotFoundError:
            raise
        except Exception as error:  # each remote file system raises what its own library raises
            said = f"{type(error).__name__}: {str(error)[:200]}"
            if attempt == TRIES:
                raise ShardError(f"could not {what} in {TRIES} tries: {said}") from error
            logger.warning("could not %s (%d of %d): %s", what, attempt, TRIES, said)
            time.sleep(WAIT_SECONDS * 2 ** (attempt - 1))
    raise AssertionError("unreachable")


def _world(dataset: Path) -> str:
    file = dataset / "collect.json"
    return str(json.loads(file.read_text(encoding="utf-8"))["world"]) if file.exists() else ""


def _describe(file: Path) -> dict[str, Any]:
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while part := stream.read(CHUNK):
            found.update(part)
    return {"bytes": file.stat().st_size, "sha256": found.hexdigest()}


def _open(place: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. S3 takes its keys from the AWS_* variables."""
    import fsspec  # type: ignore[import-untyped]  # it has no annotations

    protocol, separator, rest = place.partition("://")
    if not separator:
        protocol, rest = "file", str(Path(place).absolute())
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if protocol == "s3":
        options["config_kwargs"] = _S3_CONFIG
    elif protocol == "file":
        options["auto_mkdir"] = True  # a bucket is made by its owner
    try:
        return fsspec.filesystem(protocol, **options), rest.rstrip("/")
    except (ImportError, ValueError) as error:
        fix = "pip install 'surefoot[s3]'" if protocol == "s3" else str(error)
        raise ShardError(f"{place} cannot be opened: {fix}") from error
