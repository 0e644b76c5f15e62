"""One file that a robot is given: the specification and both ONNX graphs of an event predictor."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from agents.badgr.spec import ModelSpec, SpecError
from envs.files import write_durably

PARTS = ("spec.json", "encoder.onnx", "rollout.onnx")
LARGEST = 200 * 2**20
"""bytes of a part; a damaged or hostile file must not fill the robot's memory"""


@dataclass(frozen=True)
class ModelFile:
    """encoder: image -> h, c; rollout: h, c, actions -> logits, position. Both as ONNX."""

    spec: ModelSpec
    encoder: bytes
    rollout: bytes


def write_model(path: Path, model: ModelFile) -> None:
    """Under a temporary name first, so that a robot never reads half a model."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, part in zip(
            PARTS, (model.spec.to_json().encode(), model.encoder, model.rollout), strict=True
        ):
            # A fixed date: the same model gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), part)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, content.getvalue())


def read_model(path: Path) -> ModelFile:
    """Raises SpecError when the file is missing, cut short or something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            large = [part.filename for part in archive.infolist() if part.file_size > LARGEST]
            if large:
                raise SpecError(f"{path}: {large[0]} is larger than any model, refused")
            spec, encoder, rollout = (archive.read(name) for name in PARTS)
    except FileNotFoundError:
        raise SpecError(f"there is no model {path}: export one, or copy it here") from None
    except (zipfile.BadZipFile, KeyError, OSError, EOFError) as error:
        raise SpecError(f"{path} is not a whole model file ({error}): copy it again") from error
    return ModelFile(ModelSpec.from_json(spec.decode("utf-8", "replace")), encoder, rollout)
