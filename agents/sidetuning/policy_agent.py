"""A side-tuned policy as a robot runs it: ONNX Runtime and NumPy, no torch; adapters swap between ticks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from gymnasium import spaces
from numpy.typing import NDArray

from agents.sidetuning.config import SideError
from agents.sidetuning.policy_file import PolicyFile, read_policy
from envs.spaces import flatten_observation

logger = logging.getLogger(__name__)

Array = NDArray[Any]
PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


class _Active(NamedTuple):
    name: str
    session: onnxruntime.InferenceSession
    inputs: frozenset[str]


class SideTunedAgent:
    """An Agent with one base and adapters beside it, of which one decides.

    active: the adapter to begin with; by default the file's. providers: of ONNX Runtime, the first there is.
    `set_adapter` may be called from another thread, as a ROS service does: an action is decided by one
    adapter from its first number to its last. Raises SideError for a policy that cannot be used.
    """

    def __init__(
        self,
        policy: PolicyFile | str | Path,
        active: str | None = None,
        *,
        providers: tuple[str, ...] = PROVIDERS,
        threads: int = 1,
    ) -> None:
        self.policy = policy if isinstance(policy, PolicyFile) else read_policy(policy)
        self._providers = [name for name in providers if name in onnxruntime.get_available_providers()]
        if not self._providers:
            there = ", ".join(onnxruntime.get_available_providers())
            raise SideError(f"none of {', '.join(providers)} is here, ONNX Runtime has {there}")
        self._threads = threads
        self._base = self._session(self.policy.base, "base") if self.policy.base else None
        self._graphs = dict(self.policy.adapters)
        self._adapters = {name: self._load(name, graph) for name, graph in self._graphs.items()}
        self._active = self._find(active or self.policy.active)
        self.outputs(self._zeros())

    @property
    def adapters(self) -> tuple[str, ...]:
        return tuple(self._adapters)

    @property
    def active(self) -> str:
        """The adapter that decides about the next observation."""
        return self._active.name

    @property
    def provider(self) -> str:
        """Of ONNX Runtime, that runs it."""
        return str(self._active.session.get_providers()[0])

    def reset(self) -> None:
        """Nothing to forget: the policy looks at one observation at a time."""

    def act(self, observation: Any) -> Any:
        """The most likely of discrete actions, or the mean, clipped to the action space's limits."""
        output = self.outputs(observation)
        space = self.policy.action_space
        if isinstance(space, spaces.Discrete):
            return int(output.argmax()) + int(space.start)
        low, high = space.low, space.high
        return np.clip(output.reshape(space.shape), low, high).astype(space.dtype)

    def outputs(self, observation: Any) -> Array:
        """What the active adapter's head gives, (outputs,). Raises SideError for another observation."""
        active = self._active  # once: a swap in between must not mix two adapters
        return self._run(active, observation)

    def set_adapter(self, name: str) -> None:
        """Another adapter decides from the next observation on. Raises SideError for one that is not there;
        the one before goes on."""
        before = self.active
        try:
            self._active = self._find(name)
        except SideError:
            logger.warning("no adapter %r: %r goes on", name, before)
            raise
        logger.info("adapter %r in place of %r", name, before)

    def add_adapters(self, policy: PolicyFile | str | Path) -> tuple[str, ...]:
        """Takes the adapters of another file of the same base; gives their names. None becomes active.

        Each is loaded and run once before it can be chosen. Raises SideError, nothing changed, when base,
        sensors or actions differ, or when a name is taken by another adapter.
        """
        other = policy if isinstance(policy, PolicyFile) else read_policy(policy)
        for what in ("base_sha256", "sensors", "base_input", "action_space"):
            ours, theirs = getattr(self.policy, what), getattr(other, what)
            if ours != theirs:
                raise SideError(f"these adapters are of another {what}: expected {ours}, got {theirs}")
        missing = [tap for tap in other.taps if tap not in self.policy.taps]
        if missing or (other.base and self._base is None):
            raise SideError(f"the base here does not give {missing or 'features'}: export them together")
        taken = [name for name, graph in other.adapters.items() if self._graphs.get(name, graph) != graph]
        if taken:
            raise SideError(f"other adapters are named {', '.join(taken)} already: export under new names")
        added = {name: self._load(name, graph) for name, graph in other.adapters.items()}
        for adapter in added.values():
            self._run(adapter, self._zeros())
        # One assignment: whoever reads in another thread sees all or none.
        self._adapters = {**self._adapters, **added}
        self._graphs |= other.adapters
        return tuple(added)

    def _find(self, name: str) -> _Active:
        adapters = self._adapters
        if name not in adapters:
            raise SideError(f"there is no adapter {name!r}: this policy has {', '.join(adapters)}")
        return adapters[name]

    def _load(self, name: str, graph: bytes) -> _Active:
        session = self._session(graph, f"adapter {name!r}")
        inputs = frozenset(one.name for one in session.get_inputs())
        known = set(self.policy.base_outputs) if self._base is not None else set()
        if inputs - known - self.policy.sensors.keys():
            raise SideError(f"adapter {name!r} reads {', '.join(sorted(inputs))}, not all of which is here")
        return _Active(name, session, inputs)

    def _run(self, adapter: _Active, observation: Any) -> Array:
        feed = self._sensors(observation)
        if self._base is not None and adapter.inputs - feed.keys():
            names = self.policy.base_outputs
            outputs = self._base.run(names, {self.policy.base_input: feed[self.policy.base_input]})
            feed |= dict(zip(names, outputs, strict=True))
        output: Array = adapter.session.run(["output"], {name: feed[name] for name in adapter.inputs})[0][0]
        return output

    def _zeros(self) -> dict[str, Array]:
        return {name: np.zeros(one.shape, one.dtype) for name, one in self.policy.sensors.items()}

    def _sensors(self, observation: Any) -> dict[str, Array]:
        given = flatten_observation(observation)
        feed = {}
        for name, sensor in self.policy.sensors.items():
            if name not in given:
                raise SideError(f"the policy reads the sensor {name!r}, the robot gives {', '.join(given)}")
            value = given[name]
            if value.shape != sensor.shape or value.dtype.name != sensor.dtype:
                raise SideError(
                    f"the policy expects {name} {sensor.shape} {sensor.dtype}, "
                    f"the robot gives {value.shape} {value.dtype.name}"
                )
            feed[name] = value[None]
        return feed

    def _session(self, graph: bytes, what: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        # Spinning threads would take the core from the driver between two ticks.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(graph, options, providers=self._providers)
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise SideError(f"ONNX Runtime refuses the {what}: {error}") from error
