"""Behaviour cloning of the shortest-path expert, the base's features baked once."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor

from agents.sidetuning.config import SideConfig
from agents.sidetuning.demos import Demos
from agents.sidetuning.distill import distill
from agents.sidetuning.frozen import FrozenBase
from agents.sidetuning.loop import load_optimizer, optimizer_state
from agents.sidetuning.navigation_config import NavigationConfig
from agents.sidetuning.navigator import (
    IMAGE,
    bake,
    logits,
    make_policy,
    merge_metrics,
    prepared,
    side_model,
)  # fmt: skip

Batch = tuple[dict[str, Tensor], Tensor]
DISTILLING = 128
"""images of a batch, of DISTILLED at most, when a side begins as an imitation of the base"""
DISTILLED, EPOCHS = 2048, 10
REPORTED = 64
"""steps that alpha and the norms are looked at on"""


class Imitation:
    """The job of `loop`: cross-entropy on the expert's actions."""

    def __init__(
        self, config: NavigationConfig, base: FrozenBase, space: spaces.Dict, actions: Any, demos: Demos
    ) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.policy = make_policy(space, actions, base, config.adapter, config.hidden, config.learning_rate)
        self.model = side_model(self.policy)
        self._first = int(actions.start)
        learnt, unseen = demos.split(config.holdout)
        self._distil(learnt)
        self.learnt, self.unseen = self._kept(learnt), self._kept(unseen)
        self.steps = {"learnt": len(learnt.actions), "held_out": len(unseen.actions)}
        self.optimizer = self.policy.optimizer
        self.best_loss, self.best_step = math.inf, 0
        self._best: dict[str, Tensor] = {}

    def train(self, step: int) -> dict[str, float]:
        config = self.config
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        given, wanted = self._rows(
            torch.randint(len(self.learnt[1]), (config.batch_size,), generator=generator)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = 0.5 * config.learning_rate * (1 + math.cos(math.pi * step / config.updates))
        self.policy.set_training_mode(True)
        found = logits(self.policy, given)
        loss = F.cross_entropy(found, wanted)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.model.advance()
        right = (found.argmax(1) == wanted).float().mean()
        return {"train/loss": loss.item(), "train/accuracy": right.item()}

    @torch.no_grad()
    def evaluate(self, step: int) -> dict[str, float]:
        self.policy.set_training_mode(False)
        given, wanted = self.unseen
        found = logits(self.policy, given)
        loss = F.cross_entropy(found, wanted).item()
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, step
            self._best = copy.deepcopy(self.policy.state_dict())
        right = (found.argmax(1) == wanted).float().mean().item()
        few = {name: x[:REPORTED] for name, x in given.items()}
        return {
            "holdout/loss": loss,
            "holdout/accuracy": right,
            **merge_metrics(self.policy, few),
        }

    def choose(self) -> None:
        """Takes the weights that the run is to end with."""
        if self.config.keep == "best" and self._best:
            self.policy.load_state_dict(self._best)
        self.policy.set_training_mode(False)

    def state(self) -> dict[str, Any]:
        return {
            "policy": dict(self.policy.state_dict()),
            "optimizer": optimizer_state(self.optimizer),
            "best": {"loss": self.best_loss, "step": self.best_step, "policy": dict(self._best)},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.policy.load_state_dict(state["policy"])
        load_optimizer(self.optimizer, state["optimizer"])
        best = state["best"]
        self.best_loss, self.best_step = best["loss"], best["step"]
        self._best = dict(best["policy"])

    def _kept(self, demos: Demos) -> Batch:
        sensors = {**demos.sensors, **bake(self.policy, demos.sensors[IMAGE])}
        return prepared(sensors), torch.from_numpy(demos.actions - self._first)

    def _rows(self, rows: Tensor) -> Batch:
        given, wanted = self.learnt
        return {name: x[rows] for name, x in given.items()}, wanted[rows]

    def _distil(self, demos: Demos) -> None:
        adapter = self.config.adapter
        if isinstance(adapter, SideConfig) and adapter.init == "distilled":
            images = prepared({IMAGE: demos.sensors[IMAGE][:DISTILLED]})[IMAGE]
            batches = [{IMAGE: part} for part in images.split(DISTILLING)]
            distill(self.model, batches, epochs=EPOCHS)
