// Elements by code: text is only ever text, so that no name can become markup.

type Child = Node | string;
type Attributes = Readonly<Record<string, string>>;

const SVG = "http://www.w3.org/2000/svg";

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function drawing(tag: string, attributes: Attributes = {}, ...children: Child[]): SVGElement {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The element of this id; the template has it. */
export function byId<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/** A button that asks once more before it does something that cannot be undone. */
export function button(label: string, name: string, act: () => Promise<void>, sure = ""): HTMLButtonElement {
  const made = element("button", { type: "button", class: "button", "aria-label": name }, label);
  made.addEventListener("click", () => {
    if (sure !== "" && !window.confirm(sure)) return;
    made.disabled = true;
    void act().finally(() => {
      made.disabled = false;
    });
  });
  return made;
}

/** Puts rows into a table's body, or says in one wide cell that there are none. */
export function fill(id: string, rows: readonly (readonly Child[])[], none: string): void {
  const body = byId(id, HTMLTableSectionElement);
  const columns = body.closest("table")?.querySelectorAll("thead th").length ?? 1;
  // The first cell names the row, for those who hear the table.
  const made = rows.map((row) =>
    element("tr", {}, ...row.map((cell, at) => (at === 0 ? element("th", { scope: "row" }, cell) : element("td", {}, cell)))),
  );
  if (made.length === 0) {
    made.push(element("tr", {}, element("td", { colspan: String(columns), class: "none" }, none)));
  }
  if (sameText(body, made)) return; // what has the keyboard's focus stays
  body.replaceChildren(...made);
}

function sameText(body: HTMLTableSectionElement, rows: readonly HTMLTableRowElement[]): boolean {
  const flat = (from: Iterable<Element>): string => Array.from(from, (row) => row.innerHTML).join("\n");
  return flat(body.rows) === flat(rows);
}

export const percent = (value: number | null): string => (value === null ? "–" : `${Math.round(value * 100)} %`);
export const decimal = (value: number | null, digits = 2): string => (value === null ? "–" : value.toFixed(digits));

const CLOCK = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});

const HOUR = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export const hour = (time: string): string => HOUR.format(new Date(time));

export function moment(time: string | null): string {
  const date = time === null ? null : new Date(time);
  return date === null || Number.isNaN(date.getTime()) ? "–" : CLOCK.format(date);
}
