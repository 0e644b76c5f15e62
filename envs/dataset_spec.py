"""dataset.json: what kind of folder this is, and which spaces its episodes come from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from envs.episode import Episode
from envs.files import write_durably
from envs.spaces import Space, leaf_spaces, space_difference, space_from_json, space_to_json

FORMAT = "surefoot-episodes"
VERSION = 1
SPEC_FILE = "dataset.json"


class DatasetError(RuntimeError):
    """This folder cannot be used as a dataset, or not in this way."""


@dataclass(frozen=True)
class DatasetSpec:
    """The spaces of one copy of the environment; None where they were not given: then anything is taken."""

    observation_space: Space | None = None
    action_space: Space | None = None

    def difference(self, given: DatasetSpec) -> str | None:
        """What `given` has otherwise, in words; a space that is None on either side is not compared."""
        for kind in ("observation", "action"):
            saved, other = getattr(self, f"{kind}_space"), getattr(given, f"{kind}_space")
            if saved is not None and other is not None and (difference := space_difference(saved, other)):
                return f"another {kind} space: {difference}"
        return None

    def misfit(self, episode: Episode) -> str | None:
        """What in the episode's observations does not fit the space, in words."""
        if self.observation_space is None:
            return None
        wanted = leaf_spaces(self.observation_space)
        if wanted.keys() != episode.observations.keys():
            return f"expected the observations {sorted(wanted)}, got {sorted(episode.observations)}"
        for name, space in wanted.items():
            stream = episode.observations[name]
            if stream.shape[1:] != space.shape or stream.dtype != space.dtype:
                return (
                    f"expected observations[{name!r}] with {space.dtype} {space.shape} a step, "
                    f"got {stream.dtype} {stream.shape[1:]}"
                )
        return None


def create_spec(path: Path, spec: DatasetSpec) -> None:
    """Writes dataset.json into an empty folder; DatasetError if anything else is there."""
    others = {entry.name for entry in path.iterdir()} - {"lock", f"{SPEC_FILE}.tmp"}
    if others:
        raise DatasetError(
            f"{path} has no {SPEC_FILE} but other files ({', '.join(sorted(others)[:3])}): "
            f"give a new or an empty folder, or bring {SPEC_FILE} back"
        )
    saved = {
        "format": FORMAT,
        "version": VERSION,
        "observation_space": None
        if spec.observation_space is None
        else space_to_json(spec.observation_space),
        "action_space": None if spec.action_space is None else space_to_json(spec.action_space),
    }
    write_durably(path / SPEC_FILE, json.dumps(saved, indent=2).encode())


def read_spec(path: Path) -> DatasetSpec:
    """Raises FileNotFoundError where there is no dataset, DatasetError where it is another kind."""
    file = path / SPEC_FILE
    if not file.exists():
        raise FileNotFoundError(f"no dataset at {path}: {file.name} is missing")
    try:
        saved = json.loads(file.read_text())
        if saved["format"] != FORMAT:
            raise ValueError(f"its format is {saved['format']!r}")
        if saved["version"] > VERSION:
            raise DatasetError(
                f"{path} has format version {saved['version']}, this reads {VERSION}: upgrade surefoot"
            )
        found = [saved["observation_space"], saved["action_space"]]
        return DatasetSpec(*(None if one is None else space_from_json(one) for one in found))
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{file} is not the description of a {FORMAT} dataset: {error!r}") from error
