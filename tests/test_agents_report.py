"""What the report says follows from the numbers, also where numbers are missing or damaged."""

import json
import re
import runpy
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib import pyplot

from agents.plots import Chart, Line, inline_svg
from agents.report import duration, verdict, write_report
from agents.report_charts import learning_chart, short
from agents.report_html import element, legend
from agents.report_sections import clip_caption, embedded, made_by
from agents.results import ComparedClips, Results, count_answers, read_results, series

write_synthetic_run = runpy.run_path(str(Path(__file__).with_name("report_runs.py")))["write_synthetic_run"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "demo"))


def pendulum(**changes: Any) -> Results:
    """A run with 140 labels and both bounds; `changes` replace its parts."""
    teacher = {"kind": "mistake", "error_rate": 0.1}
    parts: dict[str, Any] = {
        "path": Path("runs/demo"),
        "config": {"env": "classic:Pendulum", "labels": 140, "steps": 1000, "teacher": teacher},
        "summary": {"env": "classic:Pendulum", "labels": 140, "steps": 1000, "final_return": -200.0},
        "bounds": {"random_return": -1200.0, "true_reward_return": -100.0},
    }
    return Results(**{**parts, **changes})


def text_of(path: Path) -> str:
    """What a reader sees: no tags, no style."""
    page = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


class Balance(HTMLParser):
    """Fails on a tag that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "link", "line", "path", "use", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open and tag not in ("path", "use", "rect"):
            assert self.open.pop() == tag


# -- the verdict --------------------------------------------------------------------------------


def test_the_verdict_is_computed() -> None:
    said = verdict(pendulum())
    assert "With 140 labels, 10 % of them wrong on purpose, the policy came 91 % of the way" in said
    half = verdict(pendulum(summary={"labels": 70, "steps": 9, "final_return": -650.0}))
    assert "With 70 labels" in half
    assert "50 % of the way" in half


@pytest.mark.parametrize(
    ("final", "expected"),
    [(-100.0, "did as well as one trained on the true reward"), (-1300.0, "no better than an untrained one")],
)
def test_the_ends_of_the_scale_have_their_own_words(final: float, expected: str) -> None:
    assert expected in verdict(pendulum(summary={"labels": 140, "steps": 1, "final_return": final}))


def test_the_zero_of_the_score_is_the_better_of_random_and_untrained() -> None:
    bounds = {"random_return": -40.0, "untrained_return": -10.0, "true_reward_return": -4.0}
    result = pendulum(bounds=bounds, summary={"final_return": -7.0})
    assert result.score == pytest.approx(0.5)


def test_no_score_without_a_bound_that_means_something() -> None:
    assert pendulum(bounds={}).score is None
    assert pendulum(bounds={"random_return": -100.0, "true_reward_return": -100.0}).score is None
    assert "there is no bound to compare it with" in verdict(pendulum(bounds={}))
    assert pendulum(summary={"score": float("nan"), "final_return": -200.0}).score == pytest.approx(
        1000 / 1100
    )


def test_an_unfinished_run_says_so_and_quotes_its_newest_evaluation() -> None:
    metrics = [{"step": 0, "true_return": -1200.0}, {"step": 500, "true_return": -650.0, "labels": 35}]
    said = verdict(pendulum(summary={}, metrics=metrics))
    assert said.startswith("Not finished: 500 steps done. With 35 labels")
    assert "50 % of the way" in said
    assert "nothing can be said" in verdict(pendulum(summary={}))


def test_a_run_on_the_true_reward_is_not_called_learnt_from_labels() -> None:
    said = verdict(pendulum(config={"env": "classic:Pendulum", "steps": 1000}))
    assert said.startswith("Trained on the true reward, the policy reached")
    assert "label" not in said


# -- the page -----------------------------------------------------------------------------------


def test_the_report_holds_all_that_the_run_says(run: Path) -> None:
    path = write_report(run)
    assert path == run / "report.html"
    text = text_of(path)
    for expected in (
        "classic:Pendulum",
        "10 % of them wrong on purpose, the policy came 93 % of the way",
        "Held-out accuracy 93 %",
        "2 min 35 s",
        "surefoot train preferences --env classic:Pendulum",
        "--steps 240000",
        "the pole points up for longer",
        "learner algorithm ppo",
        "2.13.0+cpu",
        "Answer: right; the true reward says left",
    ):
        assert expected in text, expected
    assert "/somewhere" not in text
    assert path.read_text().count("data:video/mp4;base64,") == 5
    assert not list(run.glob("*.tmp"))


def test_the_page_is_whole_and_asks_for_nothing_outside(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert "default-src &#x27;none&#x27;" in page
    assert not re.findall(r"""(?:src|href)="(?!data:|#)""", page)
    assert "http://" not in page
    assert "https://" not in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_a_bare_run_gets_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"env": "my:Task", "labels": 10, "steps": 100}))
    text = text_of(write_report(tmp_path))
    for sentence in (
        "No evaluation of the policy has been recorded",
        "No fit of the reward has been recorded yet.",
        "No answers have been given yet.",
        "No videos of compared clips were kept.",
        "The video before.mp4 was not recorded",
        "The command that made this run was not recorded.",
        "surefoot train rl --env my:Task --steps 100",
    ):
        assert sentence in text, sentence


def test_a_missing_bound_is_named_beside_the_curve(run: Path) -> None:
    (run / "bounds.json").write_text(json.dumps({"random_return": -1213.0}))
    (run / "summary.json").unlink()
    text = text_of(write_report(run))
    assert "There is no true-reward run to compare with" in text
    assert "Go on where it stopped" in text


def test_damaged_files_are_left_out_and_named(run: Path) -> None:
    (run / "bounds.json").write_text('{"random_return": -12')
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 120000, "true_re')
    text = text_of(write_report(run))
    assert "bounds.json is damaged and was left out" in text
    assert "1 damaged line of metrics.jsonl left out." in text
    assert "true return of \N{MINUS SIGN}210" in text


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json: give the folder of a run"):
        write_report(tmp_path)


def test_what_a_run_says_cannot_become_markup(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "note": "<script>alert(1)</script>"}))
    page = write_report(run).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_listing_of_clips_cannot_reach_outside_its_folder(run: Path) -> None:
    (run / "secret.mp4").write_bytes(b"secret")
    listing = run / "videos" / "clips" / "clips.json"
    listing.write_text(json.dumps([{"file": "../../secret.mp4"}, {"file": "pair_00001.mp4"}]))
    assert [clip.video.name for clip in read_results(run).clips] == ["pair_00001.mp4"]


def test_a_video_too_large_for_a_page_is_named_instead(tmp_path: Path) -> None:
    path = tmp_path / "after.mp4"
    with path.open("wb") as stream:
        stream.truncate(13_000_000)
    assert "after.mp4 has 13 MB and is left out" in embedded(path, "")


# -- pieces -------------------------------------------------------------------------------------


def test_series_carry_x_on_and_skip_gaps() -> None:
    rows = [
        {"step": 1, "labels": 5},
        {"step": 2, "loss": 0.5},
        {"step": 3, "loss": None},
        {"loss": float("nan")},
    ]
    assert series(rows, "loss") == ([2.0], [0.5])
    assert series(rows, "loss", x="labels") == ([5.0], [0.5])


def test_answers_are_counted_in_a_fixed_order() -> None:
    counts = count_answers([{"answer": "tie"}, {"answer": "left"}, {"answer": "left"}, {"other": 1}])
    assert list(counts.items()) == [("left", 2), ("right", 0), ("tie", 1), ("skip", 0)]


def test_the_learning_chart_names_every_bound() -> None:
    metrics = [{"step": 0, "true_return": -1200.0}, {"step": 9, "true_return": -200.0}]
    described = learning_chart(pendulum(metrics=metrics))
    assert described is not None
    chart, words = described
    assert [line.label for line in chart.lines] == [
        "learnt from comparisons",
        "trained on the true reward",
        "random actions",
    ]
    assert chart.lines[1].y == (-100.0, -100.0)
    assert "random actions: \N{MINUS SIGN}1,200" in words
    assert all(line.label in legend(chart) for line in chart.lines)


def test_an_inline_chart_is_markup_in_the_colours_of_the_page() -> None:
    chart = Chart("a", "A & B", "steps", "return < 0", (Line("one", (0, 1), (2, 3)),))
    svg = inline_svg(chart, 300, 200)
    ElementTree.fromstring(svg)
    assert "return &lt; 0" in svg
    assert "var(--blue)" in svg
    assert "#0072b2" not in svg
    assert pyplot.get_fignums() == []


def test_elements_escape_text_and_attributes_once() -> None:
    inner = element("b", "1 < 2")
    assert element("p", inner, " & ", None, title='"x"', hidden=False) == (
        '<p title="&quot;x&quot;"><b>1 &lt; 2</b> &amp; </p>'
    )


def test_words_for_numbers_commands_and_answers() -> None:
    assert [short(value) for value in (0.12345, 12.0, -1234.5)] == ["0.123", "12", "\N{MINUS SIGN}1,234"]
    assert [duration(value) for value in (9.4, 154.7, 7260)] == ["9 s", "2 min 35 s", "2 h 01 min"]
    assert made_by(["/a/b/surefoot", "train", "my env"]) == "surefoot train 'my env'"
    assert clip_caption(ComparedClips(Path("x"), "tie", 1.0, 2.0)) == "Answer: tie."
