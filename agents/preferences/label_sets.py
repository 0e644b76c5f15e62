"""The answers of one run as the beginning of another."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from agents.preferences.comparison import Comparison
from agents.preferences.labels import LabelLog
from agents.run_lock import RunError
from envs.dataset import EpisodeDataset
from envs.episode import Clip


def read_label_set(source: Path, env: str) -> list[Comparison]:
    """The standing answers of a run: of its labelling session if it has one, else of its labels.jsonl.

    The run may be training meanwhile. Raises RunError when it is of another environment or has no answers.
    """
    try:
        theirs = str(json.loads((source / "config.json").read_text(encoding="utf-8"))["env"])
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{source} is not a run with labels ({error})") from error
    if theirs != env:
        raise RunError(f"the labels of {source} are about {theirs}, this run is about {env}")
    comparisons = _of_session(source) if (source / "label.json").exists() else logged_answers(source)
    if not any(comparison.target is not None for comparison in comparisons):
        raise RunError(f"{source} has no answer to learn from yet: label some pairs first")
    return comparisons


def copy_label_set(source: Path, run: Path, comparisons: list[Comparison]) -> None:
    """Writes answers and their clips into another run; what is there already is left alone."""
    wanted = {clip.episode for comparison in comparisons for clip in (comparison.left, comparison.right)}
    with EpisodeDataset(source / "clips", read_only=True) as theirs, EpisodeDataset(run / "clips") as ours:
        for episode in sorted(wanted):
            if episode not in theirs:
                raise RunError(f"{source / 'clips'} has no clip {episode}, which its labels name")
            if episode not in ours:
                ours.append(theirs[Clip(episode, 0, theirs.steps(episode))])
    log = LabelLog(run / "labels.jsonl")
    try:
        for comparison in comparisons:
            if not log.was_given(comparison.id):
                log.append(comparison)
    finally:
        log.close()


def logged_answers(source: Path) -> list[Comparison]:
    """The standing answers of a run's labels.jsonl, read while it may be written."""
    path = source / "labels.jsonl"
    if not path.exists():
        raise RunError(f"{source} has no labels: {path} is not there")
    with tempfile.TemporaryDirectory() as folder:
        # A copy: opening the log itself would cut off a line that its run is just writing.
        log = LabelLog(shutil.copy(path, Path(folder) / path.name))
        log.close()
        return list(log)


def _of_session(source: Path) -> list[Comparison]:
    from agents.preferences.labelling.people import standing_answers
    from agents.preferences.labelling.session_file import open_session

    session = open_session(source)
    try:
        return standing_answers(session)
    finally:
        session.store.close()
