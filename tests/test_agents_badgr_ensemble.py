"""An ensemble: its mean and its disagreement are what they are called, on the robot too."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.badgr.config import BadgrConfig
from agents.badgr.experience import load_experience
from agents.badgr.export import check_parity, export_model
from agents.badgr.model_file import ModelFile
from agents.badgr.network import EventPredictor, NetworkConfig, disagreement, mean_logits
from agents.badgr.prediction import Prediction
from agents.badgr.predictor import Predictor
from agents.badgr.spec import SpecError
from agents.badgr.train import train_badgr

toy = runpy.run_path(str(Path(__file__).with_name("badgr_drives.py")))
SPEC = toy["SPEC"]
CPU = ("CPUExecutionProvider",)


@pytest.fixture(scope="module")
def network() -> EventPredictor:
    torch.manual_seed(0)
    network = EventPredictor(SPEC, NetworkConfig(members=3))
    network.eval()
    for parameter in network.rollout.parameters():
        parameter.data *= 2  # untrained members hardly differ
    return network


@pytest.fixture(scope="module")
def model(network: EventPredictor) -> ModelFile:
    return export_model(network)


def frames(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *SPEC.image), dtype=np.uint8)


def candidates(count: int) -> np.ndarray:
    shape = (count, SPEC.horizon, len(SPEC.actions))
    return np.random.default_rng(2).uniform(SPEC.low, SPEC.high, shape).astype(np.float32)


def test_the_mean_is_of_probabilities_and_finite_where_members_are_certain() -> None:
    logits = torch.tensor([[2.0, -1.0, 500.0, -500.0], [-3.0, 0.5, 500.0, -500.0]])
    expected = torch.sigmoid(logits).mean(0)
    assert torch.allclose(torch.sigmoid(mean_logits(logits)), expected)
    assert torch.isfinite(mean_logits(logits)).all()
    assert torch.allclose(disagreement(logits)[0], (torch.sigmoid(logits[0, 0]) - expected[0]).abs())
    assert disagreement(logits)[2:].tolist() == [0.0, 0.0]


def test_the_robot_predicts_the_members_mean_and_their_disagreement(
    network: EventPredictor, model: ModelFile
) -> None:
    image, actions = frames(1)[0], candidates(700)  # more than one chunk
    predictor = Predictor(model, providers=CPU)
    predictor.look(image)
    said = predictor.predict(actions)
    with torch.no_grad():
        repeated = torch.from_numpy(image)[None].expand(700, *image.shape)
        logits, places = network.members(repeated, torch.from_numpy(SPEC.normalised(actions)))
    probability = torch.sigmoid(logits).numpy()
    assert probability.shape == (3, 700, SPEC.horizon, 2)
    assert np.allclose(said.events["bumpy"], probability.mean(0)[..., 1], atol=1e-4)
    for column, name in enumerate(SPEC.events):
        assert np.allclose(said.disagreement[name], probability.std(0)[..., column], atol=1e-4)
        assert said.disagreement[name].max() > 0.01
    assert np.allclose(said.position, places.mean(0).numpy(), atol=1e-4)
    assert np.array_equal(said.of(np.array([5, 3])).disagreement["bumpy"], said.disagreement["bumpy"][[5, 3]])
    parity = check_parity(network, model, frames(2), candidates(16))
    assert parity.probability < 1e-4


def test_caution_raises_what_members_disagree_about(model: ModelFile) -> None:
    bold, careful = (Predictor(model, providers=CPU, caution=caution) for caution in (0.0, 2.0))
    said: list[Prediction] = []
    for predictor in (bold, careful):
        predictor.look(frames(1)[0])
        said.append(predictor.predict(candidates(20)))
    expected = np.minimum(said[0].events["bumpy"] + 2 * said[0].disagreement["bumpy"], 1)
    assert np.allclose(said[1].events["bumpy"], expected, atol=1e-6)
    assert (said[1].events["collision"] >= said[0].events["collision"]).all()
    assert (np.diff(said[1].events["collision"], axis=1) >= 0).all()


def test_a_single_network_knows_no_disagreement() -> None:
    model = export_model(EventPredictor(SPEC))
    predictor = Predictor(model, providers=CPU)
    predictor.look(frames(1)[0])
    assert predictor.predict(candidates(2)).disagreement == {}
    with pytest.raises(SpecError, match="caution needs an ensemble's disagreement: train with --ensemble"):
        Predictor(model, providers=CPU, caution=1.0)
    with pytest.raises(ValueError, match="caution must be finite and not negative, got -1"):
        Predictor(model, providers=CPU, caution=-1.0)


def test_trained_members_disagree_where_they_are_wrong(tmp_path: Path) -> None:
    data = str(toy["record_toy"](tmp_path / "drives", 160))
    config = BadgrConfig(
        data=(data,), spec=SPEC, steps=120, members=3, holdout=0.2, device="cpu",
        holdout_windows=64, evaluations=1, checkpoints=2, learning_rate=1e-3,
    )  # fmt: skip
    summary = train_badgr(config, tmp_path / "run", quiet=True, tensorboard=False)
    assert summary["members"] == 3
    assert summary["measured"]["events"]["bumpy"]["auroc"] > 0.95
    predictor = Predictor(tmp_path / "run" / "predictor.model", providers=CPU)
    holdout = load_experience(config).holdout
    batch = holdout.batch(np.arange(len(holdout)), np.random.default_rng(0))
    actions = SPEC.low + (batch.actions + 1) / 2 * (SPEC.high - SPEC.low)
    apart, said = [], []
    for image, driven in zip(batch.images, actions, strict=True):
        predictor.look(image)
        prediction = predictor.predict(driven[None])
        apart.append(prediction.disagreement["collision"][0])
        said.append(prediction.events["collision"][0] > 0.5)
    known, wrong = batch.mask[..., 0], np.array(said) != batch.labels[..., 0]
    assert (known & wrong).sum() > 10
    assert np.array(apart)[known & wrong].mean() > 2 * np.array(apart)[known & ~wrong].mean()
