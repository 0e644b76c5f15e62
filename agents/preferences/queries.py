"""Which pairs of clips are worth a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from envs.episode import Episode

if TYPE_CHECKING:  # this module stays free of torch
    from agents.preferences.reward import RewardEnsemble

Array = NDArray[Any]
Selector = Literal["random", "variance", "information_gain"]
Candidates = Literal["policy_aligned", "diverse", "mixed"]


def choose_queries(
    selector: Selector,
    clips: Sequence[Episode],
    ensemble: RewardEnsemble,
    *,
    count: int,
    rng: np.random.Generator,
    factor: int = 10,
    candidates: Candidates = "mixed",
) -> list[tuple[int, int, float]]:
    """Up to `count` pairs (left, right, score) of indices into `clips`, which go from old to new.

    Draws factor * count candidates and asks the ensemble only about clips in them; nothing where
    the choice is random.
    """
    pairs = candidate_pairs(len(clips), factor * count, rng, candidates)
    returns = np.zeros((ensemble.config.members, len(clips)), np.float32)
    if selector != "random":
        used = np.unique(pairs)
        returns[:, used] = ensemble.predict_clips([clips[index] for index in used])
    return choose(selector, returns, pairs, count, rng, ensemble.config.error_rate)


def candidate_pairs(
    clips: int, count: int, rng: np.random.Generator, candidates: Candidates = "mixed"
) -> Array:
    """(pairs, 2) different unordered pairs of different clips, about `count` or as many as there are.

    "policy_aligned": both from the newest half (QPA, Hu et al. 2024); "diverse": from all;
    "mixed": half of each, for pairs of the newest clips alone look alike to people (PPE 2025).
    Which of the two is the left one is random.
    """
    if candidates not in get_args(Candidates):
        raise ValueError(f"candidates must be one of {', '.join(get_args(Candidates))}, got {candidates!r}")
    if clips < 2:
        raise ValueError(f"a pair needs two clips, there are {clips}: record more before asking")
    newest = max(2, (clips + 1) // 2)
    aligned = {"policy_aligned": count, "diverse": 0, "mixed": count // 2}[candidates]
    recent = _distinct_pairs(newest, aligned, rng) + (clips - newest)
    anywhere = _distinct_pairs(clips, count - aligned, rng)
    codes = np.concatenate([recent, anywhere]) @ np.array([clips, 1])
    _, first = np.unique(codes, return_index=True)
    pairs = np.concatenate([recent, anywhere])[np.sort(first)]
    swapped = rng.random(len(pairs)) < 0.5
    pairs[swapped] = pairs[swapped, ::-1]
    return pairs


def choose(
    strategy: Selector,
    clip_returns: Array,
    pairs: Array,
    count: int,
    rng: np.random.Generator,
    error_rate: float = 0.1,
) -> list[tuple[int, int, float]]:
    """The `count` best candidate pairs with their scores, best first.

    clip_returns: each member's summed reward of each clip, (K, C). pairs: (candidates, 2).
    "variance": of P(left) over members (Christiano et al. 2017, 2.2.4); "information_gain": see
    there; "random": uniform, score 0. Equal scores are ordered at random.
    """
    if strategy not in get_args(Selector):
        raise ValueError(f"strategy must be one of {', '.join(get_args(Selector))}, got {strategy!r}")
    shuffled = pairs[rng.permutation(len(pairs))]
    if strategy == "random":
        scores = np.zeros(len(shuffled))
    else:
        probabilities = left_probabilities(clip_returns, shuffled, error_rate)
        scores = probabilities.var(0) if strategy == "variance" else information_gain(probabilities)
    best = np.argsort(-scores, kind="stable")[:count]
    return [(int(shuffled[i, 0]), int(shuffled[i, 1]), float(scores[i])) for i in best]


def left_probabilities(clip_returns: Array, pairs: Array, error_rate: float) -> Array:
    """Each member's probability that a labeller calls the left clip better, (K, pairs)."""
    returns = clip_returns.astype(np.float64)
    difference = np.clip(returns[:, pairs[:, 0]] - returns[:, pairs[:, 1]], -50.0, 50.0)
    probabilities: Array = (1 - error_rate) / (1 + np.exp(-difference)) + error_rate / 2
    return probabilities


def information_gain(probabilities: Array) -> Array:
    """H(mean_k P_k) - mean_k H(P_k) in nats, (pairs,) of P (K, pairs) (Biyik et al. 2019, eq. 5).

    High where members are sure and disagree; 0 where all call it a coin toss, which no person could
    answer either.
    """
    gain: Array = _entropy(probabilities.mean(0)) - _entropy(probabilities).mean(0)
    return gain


def _entropy(p: Array) -> Array:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    entropy: Array = -(p * np.log(p) + (1 - p) * np.log1p(-p))
    return entropy


def _distinct_pairs(clips: int, count: int, rng: np.random.Generator) -> Array:
    """Up to `count` different pairs (i, j), i < j, uniform over all of them."""
    total = clips * (clips - 1) // 2
    codes = rng.choice(total, min(count, total), replace=False, shuffle=True)
    # Pair number code lies in row i of the triangle, which starts at i * (2 * clips - i - 1) / 2.
    starts = np.arange(clips) * (2 * clips - np.arange(clips) - 1) // 2
    i = np.searchsorted(starts, codes, side="right") - 1
    return np.stack([i, codes - starts[i] + i + 1], axis=1)
