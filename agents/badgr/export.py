"""From a trained network to the file that a robot runs, with a gate: both must predict and decide alike."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.badgr.model_file import ModelFile
from agents.badgr.network import EventPredictor
from agents.badgr.predictor import Predictor

Array = NDArray[Any]

TOLERANCE = 1e-3
"""largest difference of a probability or of a position in metres that passes the gate"""
OPSET = 17


class ParityError(RuntimeError):
    """The exported model predicts something else than the trained one."""


@dataclass(frozen=True)
class Parity:
    """How far an export is from its network, over all frames and candidates.

    probability, position: largest absolute differences, an ensemble's disagreement among the
    probabilities; agreement: share of frames on which both choose the same candidate, that with the
    fewest events expected.
    """

    probability: float
    position: float
    agreement: float


def export_model(network: EventPredictor) -> ModelFile:
    """Both parts of a network as ONNX; any number of candidates."""
    spec, network = network.spec, network.eval().cpu()
    hidden = network.config.members * network.config.hidden
    image = torch.zeros(1, *spec.image, dtype=torch.uint8)
    encoder = _onnx(network.encoder, (image,), ["image"], ["h", "c"], {})
    states = (torch.zeros(2, hidden), torch.zeros(2, hidden))
    actions = torch.zeros(spec.horizon, 2, len(spec.actions))
    outputs = ["logits", "position", *(["disagreement"] if network.config.members > 1 else [])]
    many = {"h": {0: "n"}, "c": {0: "n"}, **{name: {1: "n"} for name in ("actions", *outputs)}}
    rollout = _onnx(network.rollout, (*states, actions), ["h", "c", "actions"], outputs, many)
    return ModelFile(spec, encoder, rollout)


def check_parity(network: EventPredictor, model: ModelFile, images: Array, actions: Array) -> Parity:
    """Compares on images (F, height, width, C) uint8 and candidates (N, H, A) in SI units.

    Raises ParityError when a difference is above TOLERANCE.
    """
    spec, predictor = network.spec, Predictor(model, providers=("CPUExecutionProvider",))
    normalised = torch.from_numpy(spec.normalised(actions))
    probability = position = 0.0
    agreed = []
    for image in images:
        predictor.look(image)
        ours = predictor.predict(actions)
        with torch.no_grad():
            repeated = torch.from_numpy(image)[None].expand(len(actions), *image.shape)
            each, places = network.members(repeated, normalised)
        theirs = torch.sigmoid(each).mean(0).numpy()
        spread = torch.sigmoid(each).std(0, correction=0).numpy()
        trained = {}
        for index, name in enumerate(spec.events):
            values = theirs[..., index]
            trained[name] = np.maximum.accumulate(values, axis=1) if name in spec.lasting else values
            probability = max(probability, float(np.abs(trained[name] - ours.events[name]).max()))
            if ours.disagreement:
                apart = np.abs(spread[..., index] - ours.disagreement[name]).max()
                probability = max(probability, float(apart))
        position = max(position, float(np.abs(places.mean(0).numpy() - ours.position).max()))
        agreed.append(_choice(ours.events) == _choice(trained))
    parity = Parity(probability, position, float(np.mean(agreed)))
    if max(parity.probability, parity.position) > TOLERANCE:
        raise ParityError(
            f"the exported model differs by {parity.probability:.2g} in probability and "
            f"{parity.position:.2g} m in position, allowed is {TOLERANCE:.2g}: do not drive with it"
        )
    return parity


def _choice(events: Mapping[str, Array]) -> int:
    return int(sum(values.mean(1) for values in events.values()).argmin())


def _onnx(
    module: nn.Module, example: tuple[Any, ...], inputs: list[str], outputs: list[str], axes: dict[str, Any]
) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter fixes the number of candidates and takes 20 times as long (torch 2.13).
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            content,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    return content.getvalue()
