"""The frozen base: its fingerprint, and its runs, plain, tapped or with what an adapter changes in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agents.sidetuning.config import SideError

Edit = Callable[[Tensor], Tensor]


class BaseOutputs(NamedTuple):
    """What the base gives for a batch; kept ("baked"), it saves running the base again.

    features: (N, d) or (N, C, H, W). taps: outputs of modules inside, by name.
    """

    features: Tensor
    taps: Mapping[str, Tensor]


def freeze(module: nn.Module) -> None:
    """No gradients, and evaluation mode for good: batch normalisation keeps its statistics.

    Raises SideError for a base without parameters: there is nothing to keep.
    """
    if not sum(parameter.numel() for parameter in module.parameters()):
        raise SideError("the base has no parameters: give a trained network")
    module.requires_grad_(False)
    module.eval()


def fingerprint(module: nn.Module) -> str:
    """sha256 of all weights and buffers with their names, types and shapes."""
    digest = hashlib.sha256()
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def run_base(module: nn.Module, inputs: Tensor, taps: Sequence[str] = ()) -> BaseOutputs:
    """Without gradients. Not for two threads at once when taps are read: hooks are shared."""
    seen: dict[str, Tensor] = {}

    def reader(name: str) -> Edit:
        def read(output: Tensor) -> Tensor:
            # A copy: what follows may overwrite it (inplace activations).
            seen[name] = output.clone()
            return output

        return read

    _stay_frozen(module)
    with torch.no_grad(), _hooks(module, {name: reader(name) for name in taps}):
        features = module(inputs)
    if not isinstance(features, Tensor):
        raise SideError(f"the base must give one tensor, got {type(features).__name__}")
    return BaseOutputs(features, seen)


def run_edited(module: nn.Module, inputs: Tensor, edits: Mapping[str, Edit]) -> Tensor:
    """The base with the outputs of some modules replaced; gradients reach what the edits hold."""
    _stay_frozen(module)
    with _hooks(module, edits):
        return module(inputs)


def run_with_weights(module: nn.Module, inputs: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """The base with some weights replaced for this call; its own stay as they are."""
    _stay_frozen(module)
    return torch.func.functional_call(module, dict(weights), (inputs,))


def default_taps(module: nn.Module) -> tuple[str, ...]:
    """The direct children that hold parameters; of an only child, its children."""
    prefix = ""
    while len(children := dict(module.named_children())) == 1:
        name, module = next(iter(children.items()))
        prefix += f"{name}."
    return tuple(prefix + name for name, child in children.items() if any(True for _ in child.parameters()))


def tap_shapes(module: nn.Module, inputs: Tensor, taps: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of the tapped outputs without the batch. Raises SideError for what cannot be tapped."""
    known = dict(module.named_modules())
    unknown = [name for name in taps if not name or name not in known]
    if unknown or not taps:
        names = ", ".join(name for name in known if name)
        raise SideError(f"no modules {unknown} in the base to tap: choose from {names or 'none'}")
    outputs = run_base(module, inputs, taps).taps
    missing = [name for name in taps if name not in outputs]
    if missing:
        raise SideError(f"the base does not run its modules {missing} on its way: tap others")
    return {name: tuple(outputs[name].shape[1:]) for name in taps}


def _stay_frozen(module: nn.Module) -> None:
    # Whoever else holds the base may have called train() on it.
    if module.training:
        module.eval()


@contextmanager
def _hooks(module: nn.Module, edits: Mapping[str, Edit]) -> Iterator[None]:
    """Runs with `edits` on outputs of modules; the base is as before afterwards, also after an error."""
    handles = []
    try:
        for name, edit in edits.items():
            handles.append(module.get_submodule(name).register_forward_hook(_hook(name, edit)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(name: str, edit: Edit) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not isinstance(output, Tensor):
            raise SideError(f"module {name!r} gives {type(output).__name__}, a tensor is needed: tap another")
        return edit(output)

    return hook
