// The owner's dashboard: what happens in the session, and what the owner can do about it.
import "./owner.css";
import { bars, line } from "./owner/charts.js";
import { button, byId, decimal, element, fill, hour, moment, percent } from "./owner/dom.js";
import { ask, type Flagged, type GivenLabel, type Gold, type Overview, type Person, type Rate, type Undrawable } from "./owner/wire.js";

const EVERY_MS = 5000;

const alarm = byId("alarm", HTMLElement);
const said = byId("said", HTMLElement);
const pause = byId("pause", HTMLButtonElement);
const drawn = new Map<string, string>(); // by id: what a chart was drawn from
let names = new Map<string, string>();
let state = "";
let refused = ""; // what the last action met; stays until the next one
let trouble = ""; // what the last look at the server met

void begin();

async function begin(): Promise<void> {
  pause.addEventListener("click", () => void act(toggle));
  byId("invite", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    void act(invite);
  });
  byId("upload", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    void act(upload);
  });
  byId("copy", HTMLButtonElement).addEventListener("click", () => void copyLink());
  for (;;) {
    if (!document.hidden) await refresh();
    await new Promise((done) => setTimeout(done, EVERY_MS));
  }
}

/** Reads all anew; trouble is said and gone when the next look succeeds. */
async function refresh(): Promise<void> {
  try {
    const overview = (await ask("GET", "/api/owner/overview")) as Overview;
    const flagged = (await ask("GET", "/api/owner/flagged")) as { flagged: Flagged[]; undrawable: Undrawable[] };
    const labels = (await ask("GET", "/api/owner/labels?limit=20")) as { labels: GivenLabel[] };
    const golds = (await ask("GET", "/api/owner/golds")) as { golds: Gold[] };
    names = new Map(overview.people.map((person) => [person.id, person.name]));
    show(overview);
    showFlagged(flagged.flagged, flagged.undrawable);
    showLabels(labels.labels, golds.golds);
    trouble = "";
  } catch (error) {
    trouble = error instanceof Error ? error.message : String(error);
  }
  sayTrouble();
}

function sayTrouble(): void {
  const text = refused === "" ? trouble : refused;
  if (alarm.textContent !== text) alarm.textContent = text;
}

/** Does something the owner asked for, says how it went, and looks at all anew. */
async function act(what: () => Promise<string>): Promise<void> {
  refused = "";
  try {
    said.textContent = await what();
  } catch (error) {
    said.textContent = "";
    refused = error instanceof Error ? error.message : String(error);
  }
  await refresh();
}

function show(overview: Overview): void {
  const { study, counts } = overview;
  state = study.state;
  byId("state", HTMLElement).textContent =
    { active: "People are being asked.", paused: "Paused: nobody is asked.", finished: "Finished." }[study.state] ??
    study.state;
  pause.textContent = study.state === "active" ? "Pause" : "Go on";
  pause.disabled = study.state === "finished";
  byId("training", HTMLElement).textContent = overview.training.text;
  const figures: Record<string, string> = {
    given: `${counts["labels"] ?? 0} / ${study.target}`,
    open: String(counts["open"] ?? 0),
    rendering: String(counts["rendering"] ?? 0),
    leased: String(counts["leased"] ?? 0),
    answered: String(counts["answered"] ?? 0),
    skips: String(counts["skips"] ?? 0),
    broken: String(counts["flagged"] ?? 0),
    alpha: decimal(overview.alpha),
  };
  for (const [id, text] of Object.entries(figures)) byId(`figure-${id}`, HTMLElement).textContent = text;
  chart("chart-hours", overview.labels_per_hour, (hours) =>
    bars(
      "Labels an hour, the last 24 hours",
      hours.map((one, x) => ({ x, y: one.labels, label: moment(one.hour), mark: hour(one.hour) })),
    ),
  );
  const fits = overview.reward.filter((fit) => fit.accuracy !== null);
  chart("chart-reward", fits, (kept) =>
    line(
      "Held-out accuracy of the reward model by labels",
      kept.map((fit) => ({ x: fit.labels, y: Number((fit.accuracy ?? 0).toFixed(3)), label: `${fit.labels} labels` })),
      0.5,
    ),
  );
  fill("people", overview.people.map(personRow), "Nobody was invited yet.");
  fill(
    "kappa",
    overview.kappa.map((pair) => [
      `${name(pair.a)} and ${name(pair.b)}`,
      decimal(pair.kappa),
      String(pair.shared),
    ]),
    "No two people have answered the same pair yet.",
  );
  fill(
    "events",
    overview.events.map((event) => [moment(event.time), event.kind, event.text]),
    "Nothing has happened yet.",
  );
}

function personRow(person: Person): (Node | string)[] {
  const ended = person.revoked !== null ? `revoked ${moment(person.revoked)}` : "";
  const holds = person.expires === null ? "holds" : `until ${moment(person.expires)}`;
  const revoke = button(
    "Revoke",
    `Revoke the link of ${person.name}`,
    () =>
      act(async () => {
        await ask("DELETE", `/api/owner/annotators/${encodeURIComponent(person.id)}`);
        return `The link of ${person.name} does not work any more. The answers stay.`;
      }),
    `Revoke the link of ${person.name}? The answers stay.`,
  );
  return [
    person.name,
    String(person.labels),
    decimal(person.median_seconds, 1),
    interval(person.error_rate),
    percent(person.self_consistency),
    interval(person.side_bias),
    percent(person.gold_accuracy),
    ended === "" ? holds : ended,
    ended === "" && person.role !== "owner" ? revoke : "",
  ];
}

function interval(rate: Rate | null): string {
  if (rate === null) return "–";
  return `${percent(rate.mean)} (${Math.round(rate.low * 100)}–${Math.round(rate.high * 100)})`;
}

function showFlagged(flagged: readonly Flagged[], undrawable: readonly Undrawable[]): void {
  const pairs = flagged.map((item) => [
    item.key,
    item.people.map(name).join(", "),
    element("span", { class: "row" }, picture("left clip", item.left), picture("right clip", item.right)),
    button("Ask again", `Ask pair ${item.key} again`, () =>
      act(async () => {
        await ask("POST", "/api/owner/reopen", { query: item.query });
        return `Pair ${item.key} is asked again.`;
      }),
    ),
  ]);
  const clips = undrawable.map((item) => [
    item.clips === 1 ? "1 clip" : `${item.clips} clips`,
    "nobody",
    `cannot be drawn: ${item.reason}`,
    "",
  ]);
  fill("flagged", [...pairs, ...clips], "No pair was flagged, and every clip can be drawn.");
}

function picture(label: string, address: string | null): Node | string {
  return address === null ? `${label}: being drawn` : element("a", { href: address, target: "_blank" }, label);
}

function showLabels(labels: readonly GivenLabel[], golds: readonly Gold[]): void {
  const known = new Map(golds.map((gold) => [gold.key, gold.choice]));
  byId("gold-count", HTMLElement).textContent =
    golds.length === 1 ? "1 pair is a gold pair." : `${golds.length} pairs are gold pairs.`;
  fill(
    "labels",
    labels.map((label) => [
      moment(label.server_time),
      name(label.annotator),
      label.kind,
      label.retracted ? `${words(label.choice)} (taken back)` : words(label.choice),
      known.has(label.key) ? `gold: ${words(known.get(label.key) ?? "")}` : goldButton(label),
    ]),
    "No answer yet.",
  );
}

function goldButton(label: GivenLabel): Node | string {
  if (label.retracted || !["left", "right", "tie"].includes(label.choice)) return "";
  return button(
    "Make gold",
    `Make this pair a gold pair with the answer ${words(label.choice)}`,
    () =>
      act(async () => {
        await ask("POST", "/api/owner/gold", { query: label.query, choice: label.choice });
        return "Others will be asked this pair now and then, to see how careful they are.";
      }),
  );
}

async function toggle(): Promise<string> {
  const next = state === "active" ? "paused" : "active";
  await ask("POST", "/api/owner/state", { state: next });
  return next === "paused" ? "Nobody is asked now. What is on people's screens may still be answered." : "People are asked again.";
}

async function invite(): Promise<string> {
  const who = byId("invite-name", HTMLInputElement);
  const hours = byId("invite-hours", HTMLInputElement);
  const answer = (await ask("POST", "/api/owner/annotators", {
    name: who.value.trim(),
    hours: hours.value === "" ? null : Number(hours.value),
  })) as { link: string };
  byId("link", HTMLInputElement).value = answer.link;
  byId("link-row", HTMLElement).hidden = false;
  const named = who.value.trim();
  who.value = "";
  return `Give this link to ${named} alone: whoever has it answers as ${named}. It is shown only now.`;
}

async function copyLink(): Promise<void> {
  const link = byId("link", HTMLInputElement);
  link.select();
  try {
    await navigator.clipboard.writeText(link.value);
    said.textContent = "The link is in the clipboard.";
  } catch {
    said.textContent = "The browser keeps the clipboard from this page: copy the marked link by hand.";
  }
}

async function upload(): Promise<string> {
  const input = byId("upload-file", HTMLInputElement);
  const file = input.files?.[0];
  if (file === undefined) return "Choose a file first.";
  const answer = (await ask("POST", "/api/owner/import", file)) as { detail: string };
  input.value = "";
  return answer.detail;
}

/** Draws only when the numbers changed: an open "As a table" stays open. */
function chart<Row>(id: string, rows: readonly Row[], draw: (rows: readonly Row[]) => HTMLElement): void {
  const key = JSON.stringify(rows);
  if (drawn.get(id) === key) return;
  const open = document.querySelector<HTMLDetailsElement>(`#${id} details`)?.open ?? false;
  const made = rows.length > 0 ? draw(rows) : element("p", { class: "none" }, "No numbers yet.");
  const details = made.querySelector("details");
  if (details !== null) details.open = open;
  byId(id, HTMLElement).replaceChildren(made);
  drawn.set(id, key);
}

const name = (id: string): string => names.get(id) ?? id;
const words = (choice: string): string => choice.replace("_", " ");
