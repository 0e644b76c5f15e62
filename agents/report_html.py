"""Pieces of self-contained HTML: plain data in, escaped markup out. Nothing here reads a run."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence

from agents.plots import DASHES, Chart, inline_svg
from agents.report_style import STYLE

_VOID = {"meta", "link", "br", "line", "img"}
# No script, no network, nothing but what the file itself holds.
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


class Html(str):
    """Text that is markup already and is not escaped again."""


def element(tag: str, *children: str | None, **attributes: str | bool | None) -> Html:
    """<tag attribute="…">children</tag>; children are escaped unless they are Html, None is left out.

    A trailing underscore of an attribute's name is dropped, the others become dashes.
    True gives a bare attribute, False and None none.
    """
    written = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: str | None) -> Html:
    """Several pieces after another; what is not Html is escaped."""
    return Html(
        "".join(child if isinstance(child, Html) else html.escape(child) for child in children if child)
    )


def page(title: str, *body: str | None) -> Html:
    """A whole document with the style of our pages, light and dark, wide and narrow."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        Html(f"<style>{STYLE}</style>"),
    )
    return Html(f"<!doctype html>\n{element('html', head, element('body', *body), lang='en')}\n")


def section(title: str, *children: str | None, intro: str | None = None) -> Html:
    """A part of the page under its own heading."""
    return element("section", element("h2", title), intro and element("p", intro, class_="intro"), *children)


def cards(facts: Sequence[tuple[str, str, str]]) -> Html:
    """Headline numbers: (name, value, explanation)."""
    return element(
        "dl",
        *(
            element("div", element("dt", name), element("dd", value), element("dd", note, class_="note"))
            for name, value, note in facts
        ),
        class_="cards",
    )


def table(rows: Iterable[tuple[str, str]], caption: str) -> Html:
    """Names and values."""
    return element(
        "table",
        element("caption", caption),
        element(
            "tbody",
            *(element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows),
        ),
    )


def bars(counts: Mapping[str, int], label: str) -> Html:
    """Counts as horizontal bars with their shares."""
    total = max(sum(counts.values()), 1)
    rows = [
        element(
            "li",
            element("span", name, class_="name"),
            element(
                "span",
                element("span", style=f"width:{100 * count / total:.1f}%"),
                class_="bar",
                aria_hidden="true",
            ),
            element("span", f"{count} · {100 * count / total:.0f} %", class_="count"),
        )
        for name, count in counts.items()
    ]
    return element("ul", *rows, class_="bars", aria_label=label)


def chart_figure(
    chart: Chart, description: str, size: tuple[int, int], narrow: tuple[int, int] | None = None
) -> Html:
    """A chart with its title, legend and words for those who cannot see it.

    narrow: size of a second drawing, shown on phones in place of the first.
    """
    drawings = [(size, "wide" if narrow else None), *([(narrow, "narrow")] if narrow else [])]
    return element(
        "figure",
        element("figcaption", chart.title, legend(chart) if len(chart.lines) > 1 else None),
        *(
            element("div", Html(inline_svg(chart, *size)), role="img", aria_label=description, class_=name)
            for size, name in drawings
        ),
        class_="chart",
    )


def legend(chart: Chart) -> Html:
    """The chart's lines by name; swatches show colour and dashes."""
    entries = []
    for line in chart.lines:
        if line.label.startswith("_"):
            continue
        dashes = " ".join(f"{length}" for length in DASHES[line.dash])
        stroke = element(
            "line", x1="0", y1="5", x2="26", y2="5", stroke=f"var(--{line.color})", stroke_dasharray=dashes
        )
        swatch = element("svg", stroke, viewBox="0 0 26 10", width="26", height="10", aria_hidden="true")
        entries.append(element("li", swatch, line.label))
    return element("ul", *entries, class_="legend")


def video(content: bytes, description: str) -> Html:
    """An MP4 inside the page: loops without sound, and can be stopped."""
    return element(
        "video",
        "This browser does not play H.264 video.",
        src=f"data:video/mp4;base64,{base64.b64encode(content).decode()}",
        autoplay=True,
        muted=True,
        loop=True,
        playsinline=True,
        controls=True,
        aria_label=description,
    )


def picture(content: bytes, description: str) -> Html:
    """A PNG inside the page."""
    return element("img", src=f"data:image/png;base64,{base64.b64encode(content).decode()}", alt=description)


def command(text: str, meaning: str) -> Html:
    """A line for the shell, and what it does."""
    return element("div", element("p", meaning), element("pre", element("code", text)), class_="command")
