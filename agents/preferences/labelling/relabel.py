"""People answer what a finished run asked its simulated teacher: the same pairs, their own opinions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from agents.preferences.comparison import Query
from agents.preferences.label_sets import logged_answers
from agents.preferences.labelling.config import PeopleConfig
from agents.preferences.labelling.people import new_query, new_study
from agents.preferences.labelling.session_file import Session, create_session
from agents.preferences.labelling.sources import write_source
from agents.preferences.labelling.types import LabellingError
from agents.preferences.session import stored_clip
from envs.dataset import EpisodeDataset

BATCH = 20
"""pairs put at a time, so that people can begin before all are"""


def session_about(run: Path, people: PeopleConfig) -> Session:
    """A labelling session about the pairs that a run has asked; the run itself is left alone.

    Its answers are what `--labels-from` then takes. Raises LabellingError when nothing was asked yet.
    """
    queries = list({answer.query.id: answer.query for answer in logged_answers(run)}.values())
    if not queries:
        raise LabellingError(f"{run} has asked nothing yet: there is no pair to label")
    env = str(json.loads((run / "config.json").read_text(encoding="utf-8"))["env"])
    session = create_session(run, new_study(run, env, len(queries), people), people)
    put = set(session.store.query_keys(session.study.id))
    missing = [query for query in queries if query.id not in put]
    with EpisodeDataset(run / "clips", read_only=True) as dataset:
        for batch in _batches(missing):
            rows = []
            for query in batch:
                left, right = (
                    write_source(session.storage, env, stored_clip(dataset, clip))
                    for clip in (query.left, query.right)
                )
                rows.append(new_query(query, left, right))
            session.store.add_queries(session.study.id, rows)
    return session


def _batches(queries: list[Query]) -> Iterator[list[Query]]:
    for start in range(0, len(queries), BATCH):
        yield queries[start : start + BATCH]
