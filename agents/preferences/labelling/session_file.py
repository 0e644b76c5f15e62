"""label.json in a run's folder: where its labelling session is kept, and the owner's way in."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.preferences.labelling.config import PeopleConfig
from agents.preferences.labelling.storage import MediaStorage, open_storage
from agents.preferences.labelling.store import LabelStore, open_store
from agents.preferences.labelling.types import LabellingError, Study
from envs.files import write_durably

NAME = "label.json"


@dataclass(frozen=True)
class SessionFile:
    """What label.json holds. It lets its reader in as the owner, so only the run's user may read it."""

    study: str
    database: str
    media: str
    owner_token: str


@dataclass(frozen=True)
class Session:
    """An open labelling session of a run."""

    file: SessionFile
    study: Study
    store: LabelStore
    storage: MediaStorage


def has_session(run: Path) -> bool:
    return (run / NAME).exists()


def read_session_file(run: Path) -> SessionFile:
    """Raises LabellingError where there is none or it is damaged."""
    path = run / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return SessionFile(**{name: str(content[name]) for name in SessionFile.__dataclass_fields__})
    except FileNotFoundError:
        raise LabellingError(
            f"{run} has no labelling session: start one with `surefoot label {run}`, "
            "or a run with `surefoot train preferences --teacher people`"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise LabellingError(f"{path} is damaged ({error}): restore it, or move it away") from error


def open_session(run: Path) -> Session:
    """The session that a run has. Raises LabellingError where it has none."""
    file = read_session_file(run)
    store = open_store(file.database)
    return Session(file, store.study(file.study), store, open_storage(file.media))


def create_session(run: Path, study: Study, people: PeopleConfig) -> Session:
    """The session that a run has, or a new one as `study` and `people` say."""
    if not has_session(run):
        file = SessionFile(
            study.id,
            people.database or f"sqlite:///{(run / 'labels.db').resolve()}",
            people.media or str((run / "media").resolve()),
            secrets.token_urlsafe(32),
        )
        # Its owner's only, from the first moment.
        write_durably(run / NAME, json.dumps(asdict(file), indent=2).encode(), mode=0o600)
    file = read_session_file(run)
    store = open_store(file.database)
    if all(known.id != file.study for known in store.studies()):
        # After the file: a kill in between leaves a file whose study is made by the next start.
        store.create_study(study if study.id == file.study else _renamed(study, file.study))
    if not store.annotators(file.study):
        store.add_annotator(file.study, "owner", "owner", token=file.owner_token)
    return Session(file, store.study(file.study), store, open_storage(file.media))


def _renamed(study: Study, identity: str) -> Study:
    return Study(**{**{name: getattr(study, name) for name in Study.__dataclass_fields__}, "id": identity})
