// Two small charts, drawn as SVG. What they show is in the table below each of them too.
import { drawing, element } from "./dom.js";

const WIDTH = 640;
const HEIGHT = 160;
const LEFT = 36;
const BOTTOM = 20;
const TOP = 8;

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly label: string;
  /** What the axis says of it, where that must be shorter. */
  readonly mark?: string;
}

/** Bars side by side; the highest value is written at the axis. */
export function bars(title: string, points: readonly Point[]): HTMLElement {
  const top = Math.max(1, ...points.map((point) => point.y));
  const step = (WIDTH - LEFT) / Math.max(1, points.length);
  const marks = points.map((point, at) => {
    const height = (point.y / top) * (HEIGHT - TOP - BOTTOM);
    return drawing("rect", {
      class: "bar",
      x: (LEFT + at * step + 1).toFixed(1),
      y: (HEIGHT - BOTTOM - height).toFixed(1),
      width: Math.max(1, step - 2).toFixed(1),
      height: height.toFixed(1),
    });
  });
  const every = Math.max(1, Math.ceil(points.length / 6));
  const names = points.map((point, at) =>
    at % every === 0 ? label(LEFT + at * step, HEIGHT - 5, point.mark ?? point.label, "start") : null,
  );
  return figure(title, [...axes(String(top), "0"), ...marks, ...names.filter((name) => name !== null)], points);
}

/** A line from 0 to 1 on the upright axis, with a dashed one where chance lies. */
export function line(title: string, points: readonly Point[], chance: number): HTMLElement {
  const first = points[0]?.x ?? 0;
  const last = points[points.length - 1]?.x ?? 1;
  const across = (x: number): number => LEFT + ((x - first) / Math.max(1e-9, last - first)) * (WIDTH - LEFT - 4);
  const up = (y: number): number => HEIGHT - BOTTOM - Math.min(1, Math.max(0, y)) * (HEIGHT - TOP - BOTTOM);
  const path = points.map((point) => `${across(point.x).toFixed(1)},${up(point.y).toFixed(1)}`).join(" ");
  const level = up(chance).toFixed(1);
  return figure(
    title,
    [
      ...axes("1", "0"),
      drawing("line", { class: "chance", x1: String(LEFT), x2: String(WIDTH), y1: level, y2: level }),
      drawing("polyline", { class: "curve", points: path }),
      ...points.slice(-1).map((point) =>
        drawing("circle", { class: "bar", cx: across(point.x).toFixed(1), cy: up(point.y).toFixed(1), r: "4" }),
      ),
      ...(points.length > 0 ? [label(LEFT, HEIGHT - 5, String(first), "start")] : []),
      ...(points.length > 1 ? [label(WIDTH - 2, HEIGHT - 5, `${last} labels`, "end")] : []),
    ],
    points,
  );
}

function axes(top: string, bottom: string): SVGElement[] {
  const floor = String(HEIGHT - BOTTOM);
  return [
    drawing("line", { class: "axis", x1: String(LEFT), x2: String(WIDTH), y1: floor, y2: floor }),
    label(LEFT - 6, TOP + 8, top, "end"),
    label(LEFT - 6, HEIGHT - BOTTOM, bottom, "end"),
  ];
}

function label(x: number, y: number, text: string, anchor: string): SVGElement {
  return drawing("text", { x: x.toFixed(1), y: y.toFixed(1), "text-anchor": anchor }, text);
}

function figure(title: string, marks: readonly SVGElement[], points: readonly Point[]): HTMLElement {
  const picture = drawing("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title }, ...marks);
  const rows = points.map((point) =>
    element("tr", {}, element("th", { scope: "row" }, point.label), element("td", {}, String(point.y))),
  );
  const table = element(
    "table",
    {},
    element("caption", {}, title),
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "At"), element("th", { scope: "col" }, "Value"))),
    element("tbody", {}, ...rows),
  );
  return element("figure", { class: "chart" }, picture, element("details", {}, element("summary", {}, "As a table"), table));
}
