"""Pictures that may be lost: what is drawn can be drawn again."""

from __future__ import annotations

import logging

from agents.preferences.labelling.storage import MediaStorage, MissingMediaError
from agents.preferences.labelling.store import LabelStore
from agents.preferences.labelling.types import UnavailableError

logger = logging.getLogger(__name__)


def read_media(store: LabelStore, storage: MediaStorage, sha: str) -> bytes:
    """A picture for a person. One that is gone or damaged is drawn again, if people wait for its clip.

    Raises UnavailableError while that is done or the storage is away, MissingMediaError when it is gone for
    good. Their texts are for people who label; where the storage is and what it said stands in the log.
    """
    try:
        return storage.get(sha)
    except MissingMediaError as error:
        clips = store.redraw(sha)
        if clips:
            logger.error("%s; %d clips are drawn again", error, clips)
        if store.is_awaited(sha):
            raise UnavailableError("This clip is being drawn again. It appears by itself.") from error
        logger.error("%s", error)
        raise MissingMediaError("This picture is gone.") from error
    except UnavailableError as error:
        logger.error("%s", error)
        raise UnavailableError(
            "The pictures cannot be read just now. Your answers are kept: try again in a moment."
        ) from error


def drop_media(store: LabelStore, storage: MediaStorage, study_id: str) -> int:
    """Deletes the drawn clips of a study to make room; returns how many pictures.

    Those that open queries show are drawn again at once, others when they are asked again. What they
    are drawn from stays.
    """
    dropped = store.media(study_id)
    for sha in dropped:
        storage.delete(sha)
        # Second, so that no renderer puts it back in between; whoever asks meanwhile has it drawn again.
        store.redraw(sha)
    return len(dropped)
