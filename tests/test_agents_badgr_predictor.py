"""The event predictor: what is exported predicts what was trained, and refuses what it was not made for."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.badgr.export import Parity, ParityError, check_parity, export_model
from agents.badgr.model_file import ModelFile, read_model, write_model
from agents.badgr.network import RELEASED_CODE, EventPredictor
from agents.badgr.predictor import CHUNK, PROVIDERS, Predictor
from agents.badgr.spec import ModelSpec, SpecError

SPEC = ModelSpec()


@pytest.fixture(scope="module")
def network() -> EventPredictor:
    torch.manual_seed(0)
    return EventPredictor(SPEC).eval()


@pytest.fixture(scope="module")
def model(network: EventPredictor) -> ModelFile:
    return export_model(network)


@pytest.fixture(scope="module")
def predictor(model: ModelFile) -> Predictor:
    return Predictor(model, providers=("CPUExecutionProvider",))


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *SPEC.image), dtype=np.uint8)


def actions(count: int, seed: int = 0) -> np.ndarray:
    return (
        np.random.default_rng(seed).uniform(SPEC.low, SPEC.high, (count, SPEC.horizon, 2)).astype(np.float32)
    )


def test_sizes_are_those_of_the_released_code() -> None:
    """2,417,792 parameters of its encoder, 23,524 of the rollout that predicts x, y, z and collision."""
    released = EventPredictor(SPEC, RELEASED_CODE)
    assert sum(parameter.numel() for parameter in released.encoder.parameters()) == 2_417_792
    lstm = sum(parameter.numel() for parameter in released.rollout.lstm.parameters())
    embed = sum(parameter.numel() for parameter in released.rollout.embed.parameters())
    assert lstm + embed + (64 * 32 + 32) + (32 * 4 + 4) == 23_524


def test_the_export_predicts_what_the_network_does(network: EventPredictor, model: ModelFile) -> None:
    parity = check_parity(network, model, images(3), actions(CHUNK + 7))
    assert parity == Parity(parity.probability, parity.position, 1.0)
    assert parity.probability < 1e-5
    assert parity.position < 1e-5


def test_an_export_of_another_network_does_not_pass_the_gate(model: ModelFile) -> None:
    torch.manual_seed(1)
    with pytest.raises(ParityError, match="do not drive with it"):
        check_parity(EventPredictor(SPEC).eval(), model, images(1), actions(5))


def test_the_same_candidate_is_predicted_alike_wherever_it_stands(predictor: Predictor) -> None:
    predictor.look(images(1)[0])
    candidates = actions(2 * CHUNK + 3)
    together = predictor.predict(candidates)
    alone = predictor.predict(candidates[[CHUNK, -1]])
    for name in SPEC.events:
        assert together.events[name].shape == (2 * CHUNK + 3, 8)
        np.testing.assert_allclose(together.events[name][[CHUNK, -1]], alone.events[name], atol=1e-5)
    np.testing.assert_allclose(together.position[[CHUNK, -1]], alone.position, atol=1e-5)


def test_later_actions_change_nothing_before_them(predictor: Predictor) -> None:
    predictor.look(images(1)[0])
    pair = np.repeat(actions(1), 2, 0)
    pair[1, 5:] = SPEC.low
    prediction = predictor.predict(pair)
    np.testing.assert_array_equal(prediction.position[0, :5], prediction.position[1, :5])
    assert not np.allclose(prediction.position[0, 5:], prediction.position[1, 5:])


def test_what_lasts_does_not_become_less_likely(predictor: Predictor) -> None:
    predictor.look(images(1)[0])
    prediction = predictor.predict(actions(200))
    assert (np.diff(prediction.events["collision"], axis=1) >= 0).all()
    assert (np.diff(prediction.events["bumpy"], axis=1) < 0).any()


def test_the_image_matters(predictor: Predictor) -> None:
    seen = []
    for image in images(2):
        predictor.look(image)
        seen.append(predictor.predict(actions(3)).position)
    assert not np.allclose(*seen)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.look(np.zeros((480, 640, 3), np.uint8)), r"expects images \(96, 128, 3\), got \(480"),
        (lambda p: p.look(np.zeros(SPEC.image, np.float32)), "expects uint8 images, got float32"),
        (lambda p: p.predict(np.zeros((5, 7, 2))), r"expects actions \(N, .*8, 2.*\), got \(5, 7, 2\)"),
        (lambda p: p.predict(np.full((5, 8, 2), np.nan)), "actions hold NaN or infinity"),
    ],
)
def test_what_it_was_not_made_for_is_refused(predictor: Predictor, call, message: str) -> None:
    predictor.look(images(1)[0])
    with pytest.raises(SpecError, match=message):
        call(predictor)


def test_it_predicts_nothing_before_it_has_seen_something(model: ModelFile) -> None:
    with pytest.raises(SpecError, match="has seen no image yet"):
        Predictor(model).predict(actions(1))


def test_a_file_comes_back(model: ModelFile, tmp_path: Path) -> None:
    path = tmp_path / "models" / "rover.model"
    write_model(path, model)
    before = path.read_bytes()
    write_model(path, read_model(path))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["rover.model"]
    assert read_model(path) == model
    Predictor(path)


def test_a_file_that_is_no_model_is_refused(model: ModelFile, tmp_path: Path) -> None:
    path = tmp_path / "rover.model"
    with pytest.raises(SpecError, match="there is no model"):
        read_model(path)
    write_model(path, model)
    whole = path.read_bytes()
    for damaged in (whole[:5000], b"", b"PK\x03\x04 no zip"):
        path.write_bytes(damaged)
        with pytest.raises(SpecError, match="is not a whole model file"):
            read_model(path)
    turned = bytearray(whole)
    turned[len(whole) // 2] ^= 0xFF
    path.write_bytes(bytes(turned))
    with pytest.raises(SpecError, match="is not a whole model file"):
        read_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("spec.json", SPEC.to_json())
    with pytest.raises(SpecError, match="is not a whole model file"):
        read_model(path)
    with pytest.raises(SpecError, match="ONNX Runtime refuses the model"):
        Predictor(ModelFile(SPEC, b"not onnx", b"not onnx"))


def test_a_provider_that_is_absent_is_an_error_and_not_a_slow_drive(model: ModelFile) -> None:
    with pytest.raises(SpecError, match="none of NoSuchProvider is here, ONNX Runtime has"):
        Predictor(model, providers=("NoSuchProvider",))
    assert Predictor(model).provider in PROVIDERS
