// What server and page say to each other, checked where it arrives.

/** Sides are those of the screen; the server knows which way round they were. */
export type Choice = "left" | "right" | "tie" | "cannot_tell" | "skip" | "broken";
export type StudyState = "active" | "paused" | "finished";

export interface Sheet {
  readonly media: string;
  readonly frames: number;
  readonly columns: number;
  readonly width: number;
  readonly height: number;
  readonly reward: readonly number[];
}

export interface Query {
  readonly query: string;
  readonly left: Sheet;
  readonly right: Sheet;
  readonly fps: number;
  readonly why: string;
  readonly expiresIn: number;
}

export interface Wait {
  readonly reason: string;
  readonly text: string;
}

export interface Task {
  readonly study: string;
  readonly name: string;
  readonly env: string;
  readonly guide: string;
  readonly role: string;
  readonly annotator: string;
  readonly target: number;
  readonly state: StudyState;
  readonly minViewMs: number;
  readonly prefetch: number;
}

export interface Stats {
  readonly given: number;
  readonly mine: number;
  readonly target: number;
  readonly open: number;
  readonly medianSeconds: number | null;
  readonly accuracy: number | null;
  readonly step: number | null;
  readonly steps: number | null;
  readonly training: string;
  readonly video: string | null;
  readonly state: StudyState;
  readonly wait: Wait;
}

export interface Given {
  readonly uuid: string;
  readonly query: string;
  readonly choice: string;
  readonly time: string;
}

/** The server said something that this page does not understand, as after an update. */
export class WireError extends Error {}

type Fields = Record<string, unknown>;

function fields(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new WireError(`${what}: an object was expected`);
  }
  return value as Fields;
}

function text(from: Fields, name: string): string {
  const value = from[name];
  if (typeof value !== "string") throw new WireError(`${name}: text was expected`);
  return value;
}

function number(from: Fields, name: string): number {
  const value = from[name];
  if (typeof value !== "number" || !Number.isFinite(value)) throw new WireError(`${name}: a number was expected`);
  return value;
}

/** The number, or null where there is none; a page must not fall over a figure that is not there yet. */
function maybe(from: Fields, name: string): number | null {
  const value = from[name];
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function count(from: Fields, name: string): number {
  const value = number(from, name);
  if (!Number.isInteger(value) || value < 1) throw new WireError(`${name}: 1 or more was expected, got ${value}`);
  return value;
}

function list(from: Fields, name: string): readonly unknown[] {
  const value = from[name];
  if (!Array.isArray(value)) throw new WireError(`${name}: a list was expected`);
  return value;
}

function studyState(from: Fields): StudyState {
  const value = from["state"];
  return value === "paused" || value === "finished" ? value : "active";
}

function media(address: string): string {
  if (!/^\/media\/[0-9a-f]+$/.test(address)) throw new WireError(`media: ${address} is no address of ours`);
  return address;
}

function sheet(value: unknown): Sheet {
  const from = fields(value, "clip");
  const reward = Array.isArray(from["reward"]) ? from["reward"] : [];
  return {
    media: media(text(from, "media")),
    frames: count(from, "frames"),
    columns: count(from, "columns"),
    width: count(from, "width"),
    height: count(from, "height"),
    reward: reward.filter((item): item is number => typeof item === "number" && Number.isFinite(item)),
  };
}

export function readQuery(value: unknown): Query {
  const from = fields(value, "query");
  const why = fields(from["why"] ?? {}, "why");
  return {
    query: text(from, "query"),
    left: sheet(from["left"]),
    right: sheet(from["right"]),
    fps: number(from, "fps"),
    why: typeof why["text"] === "string" ? why["text"] : "",
    expiresIn: maybe(from, "expires_in_s") ?? 60,
  };
}

export function readWait(value: unknown): Wait {
  const from = fields(value ?? {}, "wait");
  const reason = from["reason"];
  const said = from["text"];
  return { reason: typeof reason === "string" ? reason : "none", text: typeof said === "string" ? said : "" };
}

export function readTask(value: unknown): Task {
  const from = fields(value, "task");
  return {
    study: text(from, "study"),
    name: text(from, "name"),
    env: text(from, "env"),
    guide: text(from, "guide"),
    role: text(from, "role"),
    annotator: text(from, "annotator"),
    target: number(from, "target"),
    state: studyState(from),
    minViewMs: maybe(from, "min_view_ms") ?? 500,
    prefetch: maybe(from, "prefetch") ?? 3,
  };
}

export function readLease(value: unknown): { queries: Query[]; wait: Wait } {
  const from = fields(value, "lease");
  return { queries: list(from, "queries").map(readQuery), wait: readWait(from["wait"]) };
}

export function readStats(value: unknown): Stats {
  const from = fields(value, "stats");
  const training = fields(from["training"] ?? {}, "training");
  const video = from["video"];
  return {
    given: number(from, "given"),
    mine: maybe(from, "mine") ?? 0,
    target: number(from, "target"),
    open: maybe(from, "open") ?? 0,
    medianSeconds: maybe(from, "median_seconds"),
    accuracy: maybe(from, "accuracy"),
    step: maybe(from, "step"),
    steps: maybe(from, "steps"),
    training: typeof training["text"] === "string" ? training["text"] : "",
    video: typeof video === "string" ? media(video) : null,
    state: studyState(from),
    wait: readWait(from["wait"]),
  };
}

/** Answers that stand, oldest first. */
export function readHistory(value: unknown): Given[] {
  return list(fields(value, "history"), "labels")
    .map((item) => fields(item, "label"))
    .filter((item) => item["retracted"] !== true)
    .map((item) => ({
      uuid: text(item, "uuid"),
      query: text(item, "query"),
      choice: text(item, "choice"),
      time: text(item, "server_time"),
    }))
    .sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
}
