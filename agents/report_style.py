"""The look of our pages: light and dark after the reader's settings, wide and narrow, no outside fonts."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #24292f; --soft: #59636e; --rule: #d8dee4; --grid: #e3e7eb;
  --blue: #0072b2; --orange: #d55e00; --green: #00805d; --purple: #b0568a; --grey: #6e7781;
  --sky: #3b93c4;
  --mark: #e6f2f9; --warn: #fff4e0; }
@media (prefers-color-scheme: dark) { :root {
  --page: #0f1318; --card: #181d24; --ink: #e6e9ec; --soft: #a3adb8; --rule: #313944; --grid: #2b323b;
  --blue: #5cb8ee; --orange: #ff9a57; --green: #3fc79a; --purple: #e39cc2; --grey: #9aa4af;
  --sky: #8fd0f7;
  --mark: #14303f; --warn: #3a2c12; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1060px; padding: 2.5rem 1.25rem 3rem; background: var(--page);
  color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  overflow-wrap: break-word; }
h1 { margin: .1rem 0 .6rem; font-size: clamp(1.6rem, 4.5vw, 2.2rem); line-height: 1.2;
  letter-spacing: -.01em; }
h2 { margin: 0 0 .6rem; font-size: 1.2rem; line-height: 1.3; }
h3 { margin: 0 0 .25rem; font-size: 1rem; }
p { margin: 0 0 .75rem; }
.eyebrow, .intro, .note, footer { color: var(--soft); }
.eyebrow { margin: 0; font-size: .85rem; }
.verdict { max-width: 50rem; font-size: 1.15rem; }
.intro { max-width: 46rem; margin-bottom: 1rem; font-size: .95rem; }
.warning { margin: 1rem 0 0; padding: .6rem .9rem; border-radius: 8px; background: var(--warn);
  font-size: .95rem; }
section { margin-top: 2.5rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .75rem;
  margin: 1.5rem 0 0; }
.cards > div, figure, .panel { padding: .9rem 1rem; border: 1px solid var(--rule); border-radius: 10px;
  background: var(--card); }
.cards dt { color: var(--soft); font-size: .85rem; }
.cards dd { margin: 0; font-size: 1.35rem; font-weight: 600; line-height: 1.3;
  font-variant-numeric: tabular-nums; }
.cards dd:not(.note) { white-space: nowrap; }
.cards dd.note { font-size: .8rem; font-weight: 400; line-height: 1.4; }
figure { margin: 0; min-width: 0; }
figcaption { margin-bottom: .5rem; font-weight: 600; font-size: .95rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr));
  gap: .9rem; }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr));
  gap: .9rem; }
.panel { margin-bottom: .9rem; }
.chart [role=img] svg { display: block; width: 100%; height: auto; overflow: visible; }
.chart [role=img] text { font-family: inherit !important; }
.narrow { display: none; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: .25rem 0 0; padding: 0;
  list-style: none;
  color: var(--soft); font-weight: 400; font-size: .85rem; }
.legend li { display: flex; align-items: center; gap: .45rem; }
.legend svg { flex: none; stroke-width: 2.5; }
video { display: block; width: 100%; max-height: 24rem; border-radius: 6px; }
figure > img { display: block; max-width: 100%; max-height: 24rem; margin: 0 auto; border-radius: 6px; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; margin: .5rem 0 .4rem;
  font-size: .85rem; }
.sides > div { padding: .25rem .5rem; border: 1px solid var(--rule); border-radius: 6px;
  text-align: center; }
.sides span { display: block; color: var(--soft); font-weight: 400; }
.sides > .chosen { border-color: var(--blue); background: var(--mark); font-weight: 600; }
.clips p { margin: 0; color: var(--soft); font-size: .85rem; }
.bars { margin: .25rem 0 0; padding: 0; list-style: none; font-variant-numeric: tabular-nums; }
.bars li { display: grid; grid-template-columns: 7.5rem 1fr 5.5rem; align-items: center; gap: .6rem;
  padding: .2rem 0; }
.bars .bar { height: .7rem; border-radius: 4px; background: var(--grid); overflow: hidden; }
.bars .bar span { display: block; height: 100%; background: var(--blue); }
.bars .count { color: var(--soft); text-align: right; font-size: .9rem; }
pre { margin: 0 0 1rem; padding: .7rem .9rem; border: 1px solid var(--rule); border-radius: 8px;
  background: var(--card);
  white-space: pre-wrap; overflow-wrap: anywhere; }
code, td { font-family: ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .86rem; }
.command p { margin-bottom: .3rem; }
.tables { columns: 2 380px; column-gap: .9rem; }
table { width: 100%; margin-bottom: .9rem; border-collapse: collapse; break-inside: avoid;
  table-layout: fixed; }
caption { padding-bottom: .2rem; font-weight: 600; text-align: left; }
th, td { padding: .25rem .4rem; border-top: 1px solid var(--rule); text-align: left;
  vertical-align: top; }
th { width: 45%; padding-left: 0; color: var(--soft); font-weight: 400; font-size: .9rem; }
details { margin-bottom: .75rem; }
summary { cursor: pointer; }
footer { margin-top: 3rem; font-size: .85rem; }
@media (max-width: 640px) {
  body { padding: 1.5rem .9rem 2rem; }
  .wide { display: none; } .narrow { display: block; }
  figure, .cards > div, .panel { padding: .75rem .8rem; }
  .cards { grid-template-columns: 1fr 1fr; gap: .6rem; }
  .bars li { grid-template-columns: 6.5rem 1fr 5rem; } }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
