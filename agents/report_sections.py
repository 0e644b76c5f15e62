"""The sections of a run's report, each a pure function of the run's results."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.plots import Chart
from agents.report_charts import accuracy_chart, detail_charts, learning_chart, loss_chart, short
from agents.report_html import Html, bars, chart_figure, command, element, join, section, table, video
from agents.results import ComparedClips, Results, finite, flatten, mistake_rate
from envs.tasks import UnknownEnvironmentError, task_info

MAX_VIDEO_BYTES = 12_000_000
MAX_CLIPS = 6
CHART, CHART_NARROW = (960, 380), (420, 330)
SMALL_CHART = (420, 270)


def learning_section(results: Results) -> Html:
    """The learning curve and the bounds that are known."""
    intro = "The line is the median of the evaluation episodes, the band their middle half."
    if results.learns_from_labels:
        intro = f"The learner never sees this reward: it only sees the one learnt from comparisons. {intro}"
    described = learning_chart(results)
    if described is None:
        return section("Learning curve", missing("no evaluation of the policy has been recorded yet"))
    notes = []
    if results.learns_from_labels and finite(results.bounds.get("true_reward_return")) is None:
        notes.append(missing("there is no true-reward run to compare with; the commands below make one"))
    if results.baseline is None:
        notes.append(missing("the return of random actions was not measured"))
    chart, words = described
    return section("Learning curve", chart_figure(chart, words, CHART, CHART_NARROW), *notes, intro=intro)


def videos_section(results: Results) -> Html:
    """The policy before and after, side by side."""
    folder = results.path / "videos"
    shown = [
        element("figure", element("figcaption", caption), embedded(folder / f"{name}.mp4", words))
        for name, caption, words in (
            ("before", "Before training", f"Video: the untrained policy on {results.env}"),
            ("after", "After training", f"Video: the trained policy on {results.env}"),
        )
    ]
    return section("Before and after", element("div", *shown, class_="grid"))


def embedded(path: Path, words: str) -> Html:
    """The video, or a sentence that says why it is not shown."""
    if not path.is_file():
        return missing(
            f"the video {path.name} was not recorded (`surefoot doctor` says whether this machine can render)"
        )
    size = path.stat().st_size
    if size > MAX_VIDEO_BYTES:
        return missing(
            f"the video {path.name} has {size / 1e6:.0f} MB and is left out of this page; "
            f"it lies in {path.parent.name}"
        )
    return video(path.read_bytes(), words)


def reward_section(results: Results) -> Html:
    """How well the learnt reward answers comparisons."""
    drawn = [
        figure_of(described) for described in (accuracy_chart(results), loss_chart(results)) if described
    ]
    body = (
        element("div", *drawn, class_="grid")
        if drawn
        else missing("no fit of the reward has been recorded yet")
    )
    intro = (
        "Accuracy: the share of clip pairs that the learnt reward orders as the teacher or the truth does."
    )
    mistakes = mistake_rate(results.config)
    if mistakes:
        intro += (
            f" The teacher turns {100 * mistakes:.0f} % of its answers around, so a perfect reward "
            f"would agree with {100 * (1 - mistakes):.0f} % of them."
        )
    return section("The learnt reward", body, intro=intro)


def clips_section(results: Results) -> Html:
    """What was compared and answered."""
    parts: list[Html] = []
    if results.answers:
        parts.append(
            element(
                "div",
                element("h3", "Answers"),
                bars(results.answers, "Number of each answer"),
                class_="panel",
            )
        )
    else:
        parts.append(missing("no answers have been given yet"))
    shown = results.clips[:MAX_CLIPS]
    if shown:
        parts.append(element("div", *(clip_figure(clip) for clip in shown), class_="clips"))
    else:
        parts.append(missing("no videos of compared clips were kept"))
    return section("What was compared", *parts, intro=guide(results.env))


def guide(env: str) -> str | None:
    """The task in words for people who compare clips; None for an environment that is not ours."""
    try:
        return f"The task, as people are told it: {task_info(env).guide}"
    except UnknownEnvironmentError:
        return None


def clip_figure(clip: ComparedClips) -> Html:
    """A compared pair: the video, which side was preferred, and whether that was true."""
    values = {"left": clip.true_left, "right": clip.true_right}
    sides = [
        element(
            "div",
            f"{side}{' ✓' if clip.answer == side else ''}",
            None if value is None else element("span", f"true reward {short(value)}"),
            class_="chosen" if clip.answer == side else None,
        )
        for side, value in values.items()
    ]
    words = f"Video: two clips side by side; the answer was {clip.answer or 'not recorded'}"
    return element(
        "figure",
        embedded(clip.video, words),
        element("div", *sides, class_="sides"),
        element("p", clip_caption(clip)),
    )


def clip_caption(clip: ComparedClips) -> str:
    """ "Answer: left, as the true reward says. Chosen by variance." """
    answer = f"Answer: {clip.answer}" if clip.answer else "Answer not recorded"
    left, right = clip.true_left, clip.true_right
    if clip.answer in ("left", "right") and left is not None and right is not None and left != right:
        truth = "left" if left > right else "right"
        agrees = truth == clip.answer
        answer += ", as the true reward says" if agrees else f"; the true reward says {truth}"
    chosen = f" Chosen by {clip.chosen_by.replace('_', ' ')}." if clip.chosen_by else ""
    return f"{answer}.{chosen}"


def details_section(results: Results) -> Html | None:
    """Further curves; None where there are none."""
    drawn = [figure_of(described) for described in detail_charts(results)]
    return section("Training in detail", element("div", *drawn, class_="grid")) if drawn else None


def figure_of(described: tuple[Chart, str]) -> Html:
    """A small chart."""
    chart, words = described
    return chart_figure(chart, words, SMALL_CHART)


def next_section(results: Results) -> Html:
    """The commands that made this run, that go on with it, and that compare it."""
    run, seed = shlex.quote(shown_path(results.path)), results.config.get("seed", 0)
    env = shlex.quote(results.env)
    made = made_by(results.run.get("command"))
    planned = int(finite(results.config.get("steps")) or results.steps)
    lines = (
        [command(made, "This run was made by")]
        if made
        else [missing("the command that made this run was not recorded")]
    )
    if results.finished:
        lines.append(
            command(f"surefoot resume {run} --steps {2 * max(planned, 1)}", "Train on, to twice the steps")
        )
    else:
        lines.append(command(f"surefoot resume {run}", "Go on where it stopped"))
    if results.learns_from_labels and not results.bounds.get("true_reward_return"):
        bound = shlex.quote(f"{shown_path(results.path)}-true-reward")
        text = f"surefoot train rl --env {env} --steps {planned} --seed {seed} --run {bound}"
        lines.append(command(text, f"Make a bound, for a run with --true-reward-run {bound}"))
    lines.append(command(f"surefoot evaluate {run}", "Evaluate the policy again"))
    return section("Go on", *lines)


def made_by(recorded: object) -> str:
    """The recorded command line as one would type it; the program without its folder."""
    if isinstance(recorded, list) and recorded:
        return shlex.join([Path(str(recorded[0])).name, *(str(part) for part in recorded[1:])])
    return recorded if isinstance(recorded, str) else ""


def shown_path(path: Path) -> str:
    """The path as typed from here, where it lies below this folder."""
    resolved = path.resolve()
    return str(resolved.relative_to(Path.cwd())) if resolved.is_relative_to(Path.cwd()) else str(path)


def settings_section(results: Results) -> Html:
    """The configuration, and the versions and machine it ran with."""
    origin = {name: value for name, value in results.run.items() if name != "command"}
    groups = [*_groups(results.config, "run"), *_groups(origin, "made with")]
    tables = [
        table([(name, plain(value)) for name, value in rows.items()], title) for title, rows in groups if rows
    ]
    return section("Configuration and versions", element("div", *tables, class_="tables"))


def _groups(tree: Mapping[str, Any], title: str) -> list[tuple[str, dict[str, Any]]]:
    """One group of the plain values, one for each nested mapping."""
    nested = {name: value for name, value in tree.items() if isinstance(value, Mapping)}
    top = {name: value for name, value in tree.items() if name not in nested}
    return [(title, top), *((name, flatten(value)) for name, value in nested.items())]


def plain(value: object) -> str:
    """A setting as text."""
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)


def missing(sentence: str) -> Html:
    """A plain sentence where something would stand."""
    text = sentence[0].upper() + sentence[1:]
    parts = text.split("`")
    return element(
        "p",
        join(*(element("code", part) if i % 2 else part for i, part in enumerate(parts)), "."),
        class_="note",
    )
