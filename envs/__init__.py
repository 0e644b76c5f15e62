"""What the world shows: environments by name, their episodes, and episodes on disk.

Simulators are imported when an environment of theirs is made, never by `import envs`.
"""

from envs.catalog import make, make_vec
from envs.dataset import EpisodeDataset
from envs.episode import Clip, Episode
from envs.recording import rollout

__all__ = ["Clip", "Episode", "EpisodeDataset", "make", "make_vec", "rollout"]
