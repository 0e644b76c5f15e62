"""The event predictor as a robot runs it: ONNX Runtime and NumPy, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from agents.badgr.model_file import ModelFile, read_model
from agents.badgr.prediction import Prediction
from agents.badgr.spec import SpecError

Array = NDArray[Any]

CHUNK = 512
"""candidates in one run of the rollout: their states stay in the processor's cache"""
PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


class Predictor:
    """Predicts what N candidate action sequences would bring, from one image that is encoded once.

    providers: of ONNX Runtime, the first that there is; by default TensorRT, CUDA, CPU. threads: of the
    CPU provider; more than one core's worth only helps where cores are free. `provider` names the one
    that runs. caution: so many times an ensemble's disagreement is added to each probability, so that
    every cost and every veto keeps away from what was never seen. Raises SpecError for a model file that
    cannot be used, for caution without an ensemble, and where none of `providers` exists.
    """

    def __init__(
        self,
        model: ModelFile | str | Path,
        *,
        providers: tuple[str, ...] = PROVIDERS,
        threads: int = 1,
        caution: float = 0.0,
    ) -> None:
        if not (np.isfinite(caution) and caution >= 0):
            raise ValueError(f"caution must be finite and not negative, got {caution}")
        self.model = model if isinstance(model, ModelFile) else read_model(Path(model))
        self.spec = self.model.spec
        present = [name for name in providers if name in onnxruntime.get_available_providers()]
        if not present:
            there = ", ".join(onnxruntime.get_available_providers())
            raise SpecError(f"none of {', '.join(providers)} is here, ONNX Runtime has {there}")
        try:
            self._encoder = _session(self.model.encoder, present, threads)
            self._rollout = _session(self.model.rollout, present, threads)
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise SpecError(f"ONNX Runtime refuses the model: {error}") from error
        self.provider = self._rollout.get_providers()[0]
        self.ensemble = len(self._rollout.get_outputs()) > 2
        self.caution = caution
        if caution and not self.ensemble:
            raise SpecError(
                "caution needs an ensemble's disagreement: train with --ensemble 3, or leave it 0"
            )
        self.look(np.zeros(self.spec.image, np.uint8))
        self.predict(np.zeros((2, self.spec.horizon, len(self.spec.actions)), np.float32))
        self._state: tuple[Array, Array] | None = None

    def look(self, image: Array) -> None:
        """Encodes what the camera sees; `predict` is about this image until the next call.

        image: (height, width, channels) uint8. Raises SpecError for another size or type.
        """
        self.spec.expect_image(np.shape(image))
        if image.dtype != np.uint8:
            raise SpecError(f"the model expects uint8 images, got {image.dtype}")
        h, c = self._encoder.run(None, {"image": image[None]})
        self._state = h, c

    def predict(self, actions: Array) -> Prediction:
        """Of actions (N, H, A) in SI units. Raises SpecError for another shape or what is not finite."""
        if self._state is None:
            raise SpecError("the predictor has seen no image yet: call look first")
        expected = (self.spec.horizon, len(self.spec.actions))
        if actions.ndim != 3 or actions.shape[1:] != expected:
            raise SpecError(
                f"the model expects actions (N, {expected[0]}, {expected[1]}), got {actions.shape}"
            )
        normalised = np.ascontiguousarray(self.spec.normalised(actions).transpose(1, 0, 2))  # (H, N, A)
        if not np.isfinite(normalised).all():
            raise SpecError("actions hold NaN or infinity")
        count = normalised.shape[1]
        logits = np.empty((self.spec.horizon, count, len(self.spec.events)), np.float32)
        position = np.empty((self.spec.horizon, count, 2), np.float32)
        apart = np.empty_like(logits) if self.ensemble else None
        h, c = self._state
        for start in range(0, count, CHUNK):
            part = slice(start, min(start + CHUNK, count))
            size = part.stop - part.start
            states = {"h": np.repeat(h, size, 0), "c": np.repeat(c, size, 0)}
            outcome = self._rollout.run(None, {**states, "actions": normalised[:, part]})
            logits[:, part], position[:, part] = outcome[:2]
            if apart is not None:
                apart[:, part] = outcome[2]
        probability = _sigmoid(logits)
        if apart is not None and self.caution:
            probability = np.minimum(probability + self.caution * apart, 1.0)
        events = {}
        for index, name in enumerate(self.spec.events):
            values = probability[..., index]
            # What lasts cannot become less likely later on.
            lasting = np.maximum.accumulate(values, axis=0) if name in self.spec.lasting else values
            events[name] = lasting.T
        disagreement = {}
        if apart is not None:
            disagreement = {name: apart[..., index].T for index, name in enumerate(self.spec.events)}
        return Prediction(events, position.transpose(1, 0, 2), disagreement)


def _session(model: bytes, providers: list[str], threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Spinning threads would take the core from the driver between two plans.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=providers)


def _sigmoid(x: Array) -> Array:
    """Without overflow on either side."""
    probability: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return probability
