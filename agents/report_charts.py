"""The charts of one run's report, each with a sentence that says what it shows; None where data lack."""

from __future__ import annotations

from agents.plots import Chart, Line, level
from agents.results import Results, finite, series

Described = tuple[Chart, str]
MINUS = "\N{MINUS SIGN}"


def learning_chart(results: Results) -> Described | None:
    """The true return against the true-reward bound and the random policy."""
    steps, returns = series(results.metrics, "true_return")
    if not steps:
        return None
    low, high = (series(results.metrics, f"true_return_{side}") for side in ("low", "high"))
    has_band = low[0] == steps == high[0]
    name = "learnt from comparisons" if results.learns_from_labels else "trained on the true reward"
    color = "blue" if results.learns_from_labels else "orange"
    lines = [
        Line(name, steps, returns, color, "solid", low[1] if has_band else (), high[1] if has_band else ())
    ]
    said = [f"{name}: from {short(returns[0])} to {short(returns[-1])} over {short(steps[-1])} steps"]
    for line in _bound_lines(results, steps[-1]):
        lines.append(line)
        said.append(f"{line.label}: {short(line.y[-1])}")
    chart = Chart("learning", "True return", "environment steps", "true return per episode", tuple(lines))
    return chart, f"Line chart of the true return. {'; '.join(said)}."


def _bound_lines(results: Results, last_step: float) -> list[Line]:
    lines = []
    curve = [pair for pair in results.bounds.get("true_reward_curve") or () if _is_point(pair)]
    bound = finite(results.bounds.get("true_reward_return"))
    label = "trained on the true reward"
    if curve:
        lines.append(
            Line(label, [step for step, _ in curve], [value for _, value in curve], "orange", "dashdot")
        )
    elif bound is not None:
        lines.append(level(label, bound, last_step, "orange", "dashed"))
    random, untrained = (finite(results.bounds.get(f"{name}_return")) for name in ("random", "untrained"))
    if random is not None:
        lines.append(level("random actions", random, last_step, "grey", "dashed"))
    if untrained is not None:
        lines.append(level("untrained policy", untrained, last_step, "purple", "dotted"))
    return lines


def _is_point(pair: object) -> bool:
    return (
        isinstance(pair, list | tuple) and len(pair) == 2 and all(finite(value) is not None for value in pair)
    )


def accuracy_chart(results: Results) -> Described | None:
    """How often the learnt reward orders two clips as the teacher did, and as the true reward does."""
    lines: list[Line] = []
    held_out = series(results.metrics, "reward/validation_accuracy", x="labels")
    fresh = series(results.metrics, "reward/held_out_accuracy", x="labels")
    if held_out[0]:
        lines.append(Line("answers kept out of training", held_out[0], _percent(held_out[1]), "green"))
    if fresh[0]:
        lines.append(Line("new pairs, by the true reward", fresh[0], _percent(fresh[1]), "blue", "dashdot"))
    if not lines:
        return None
    said = "; ".join(
        f"{line.label}: {line.y[0]:.0f} % after {line.x[0]:.0f} labels, "
        f"{line.y[-1]:.0f} % after {line.x[-1]:.0f}"
        for line in lines
    )
    bottom = min(40.0, *(min(line.y) - 5 for line in lines), 40.0)
    lines.append(level("guessing", 50, max(line.x[-1] for line in lines), "grey", "dashed"))
    chart = Chart(
        "accuracy",
        "Accuracy of the learnt reward",
        "labels",
        "pairs ordered rightly, %",
        tuple(lines),
        (bottom, 102),
    )
    return chart, f"Line chart of the accuracy. {said}. Guessing gives 50 %."


def _percent(shares: list[float]) -> list[float]:
    return [100 * share for share in shares]


def loss_chart(results: Results) -> Described | None:
    """Cross-entropy of the learnt reward on training and held-out comparisons."""
    train, held_out = (series(results.metrics, f"reward/{name}_loss") for name in ("train", "validation"))
    parts: list[Line] = []
    if train[0]:
        parts.append(Line("training comparisons", *train, color="blue"))
    if held_out[0]:
        parts.append(Line("held-out comparisons", *held_out, color="green", dash="dashed"))
    if not parts:
        return None
    chart = Chart(
        "loss", "Loss of the learnt reward", "environment steps", "cross-entropy, nats", tuple(parts)
    )
    said = "; ".join(f"{line.label} from {short(line.y[0])} to {short(line.y[-1])}" for line in parts)
    return chart, f"Line chart of the cross-entropy: {said}."


def detail_charts(results: Results) -> list[Described]:
    """What helps to understand a run: correlation with the truth, entropy, speed, labels; one chart each."""
    wanted = (
        ("reward/true_correlation", "Learnt reward against the true reward", "correlation", "green"),
        ("labels", "Labels given", "labels", "purple"),
        ("policy/entropy", "Entropy of the policy", "entropy, nats", "blue"),
        ("time/steps_per_second", "Speed", "environment steps per second", "grey"),
        ("steps_per_second", "Speed", "environment steps per second", "grey"),
    )
    found = []
    for metric, title, unit, color in wanted:
        steps, values = series([*results.metrics, *results.timing], metric)
        if len(steps) > 1:
            name = metric.replace("/", "-").replace("_", "-")
            line = Line(title, steps, values, color)
            chart = Chart(name, title, "environment steps", unit, (line,))
            found.append((chart, f"Line chart of {unit}: from {short(values[0])} to {short(values[-1])}."))
    return found


def short(value: float) -> str:
    """A number for people: 3 significant digits below a thousand, whole ones with separators above."""
    if abs(value) >= 1000 or value == round(value):
        return f"{value:,.0f}".replace("-", MINUS)
    return f"{value:.3g}".replace("-", MINUS)
