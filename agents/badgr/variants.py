"""Smaller number formats of an exported event predictor, and how far each is from it. Needs onnx: dev side.

int8: weights of products and convolutions as 8-bit numbers, activations quantised as they come; ONNX Runtime
keeps LSTMs in float32. fp16: everything in half precision but input and output, for GPUs: a CPU without
half-precision arithmetic converts back and forth.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.badgr.model_file import ModelFile
from agents.badgr.predictor import Predictor

Array = NDArray[Any]
Format = Literal["int8", "fp16"]


@dataclass(frozen=True)
class Difference:
    """Largest differences of a probability and of a place (m); agreement: share of images on which both find
    the same candidate the calmest; regret: how much more events the variant's choice expects by the original,
    mean over images."""

    probability: float
    position: float
    agreement: float
    regret: float


def variant(model: ModelFile, format: Format) -> ModelFile:
    """The same model in another number format; inputs and outputs stay as they are."""
    convert = {"int8": _int8, "fp16": _fp16}[format]
    return ModelFile(model.spec, convert(model.encoder), convert(model.rollout))


def difference(original: Predictor, other: Predictor, images: Array, actions: Array) -> Difference:
    """On images (F, height, width, C) uint8 and candidates (N, H, A) in SI units."""
    probability = position = 0.0
    agreed, regret = [], []
    for image in images:
        original.look(image)
        other.look(image)
        ours, theirs = original.predict(actions), other.predict(actions)
        apart = [np.abs(ours.events[name] - theirs.events[name]).max() for name in ours.events]
        probability = max(probability, *(float(one) for one in apart))
        position = max(position, float(np.abs(ours.position - theirs.position).max()))
        trouble, seen = (sum(values.mean(1) for values in one.events.values()) for one in (ours, theirs))
        choice = int(np.argmin(seen))
        agreed.append(choice == int(np.argmin(trouble)))
        regret.append(float(np.asarray(trouble)[choice] - np.min(trouble)))
    return Difference(probability, position, float(np.mean(agreed)), float(np.mean(regret)))


def _int8(graph: bytes) -> bytes:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
        source.write_bytes(graph)
        quantize_dynamic(source, target, weight_type=QuantType.QUInt8)
        return target.read_bytes()


def _fp16(graph: bytes) -> bytes:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted = convert_float_to_float16(onnx.load_from_string(graph), keep_io_types=True)
    return bytes(converted.SerializeToString())
