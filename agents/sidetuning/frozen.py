"""A base as an argument of policies, which their files leave out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn

from agents.sidetuning.base import fingerprint, freeze
from agents.sidetuning.config import SideError

_AT_HAND: ContextVar[tuple[nn.Module, ...]] = ContextVar("bases at hand", default=())


class FrozenBase:
    """A base as an argument of policies. Saved with a policy, it leaves its fingerprint only."""

    def __init__(self, module: nn.Module) -> None:
        freeze(module)
        self._module: nn.Module | None = module
        self.sha256 = fingerprint(module)

    @property
    def module(self) -> nn.Module:
        """Raises SideError after loading, unless `base_at_hand` has the very base."""
        if self._module is None:
            for candidate in _AT_HAND.get():
                if fingerprint(candidate) == self.sha256:
                    freeze(candidate)
                    self._module = candidate
                    return candidate
            raise SideError(
                f"the policy was saved without its base (sha256 {self.sha256[:12]}), and "
                f"{'another one' if _AT_HAND.get() else 'none'} is at hand: load it inside base_at_hand(base)"
            )
        return self._module

    def __getstate__(self) -> dict[str, Any]:
        return {"_module": None, "sha256": self.sha256}

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenBase:
        return self


@contextmanager
def base_at_hand(*modules: nn.Module) -> Iterator[None]:
    """Inside, policies that were saved without their base find it among these."""
    token = _AT_HAND.set(modules)
    try:
        yield
    finally:
        _AT_HAND.reset(token)
