// What the server has not acknowledged yet, kept in the browser: a reload or a dead server loses nothing.
import type { Shelf } from "./shelf.js";
import type { Choice } from "./wire.js";

export interface Answer {
  readonly kind: "answer";
  readonly uuid: string;
  readonly query: string;
  readonly choice: Choice;
  readonly shown_ms: number;
  readonly loops: number;
  readonly speed: number;
  readonly client_time: string;
  /** It was sent at least once, so the server may have it. */
  readonly tried: boolean;
}

export interface Retraction {
  readonly kind: "retract";
  readonly uuid: string;
  readonly of: string;
  readonly query: string;
  readonly tried: boolean;
}

export type Entry = Answer | Retraction;

export class Outbox {
  private memory: Entry[] | null = null; // takes over when the browser keeps nothing

  /** key: of this person in this study, so that nobody sends another's answers. */
  constructor(
    private readonly shelf: Shelf,
    private readonly key: string,
  ) {}

  /** Whether entries survive a reload. */
  get kept(): boolean {
    return this.memory === null;
  }

  /** In the order in which they have to be sent. Read anew each time: another tab may have sent some. */
  entries(): readonly Entry[] {
    if (this.memory !== null) return this.memory;
    let stored: string | null;
    try {
      stored = this.shelf.getItem(this.key);
    } catch {
      this.memory = [];
      return this.memory;
    }
    return stored === null ? [] : this.parse(stored);
  }

  add(entry: Entry): void {
    this.write([...this.entries(), entry]);
  }

  /** Returns whether it was there. */
  remove(uuid: string): boolean {
    const before = this.entries();
    const after = before.filter((entry) => entry.uuid !== uuid);
    if (after.length === before.length) return false;
    this.write(after);
    return true;
  }

  /** To be called before it is sent. */
  markTried(uuid: string): void {
    this.write(this.entries().map((entry) => (entry.uuid === uuid ? { ...entry, tried: true } : entry)));
  }

  find(uuid: string): Entry | undefined {
    return this.entries().find((entry) => entry.uuid === uuid);
  }

  /** Queries whose answer is on its way. */
  answered(): ReadonlySet<string> {
    const queries = new Set<string>();
    for (const entry of this.entries()) {
      if (entry.kind === "answer") queries.add(entry.query);
      else queries.delete(entry.query);
    }
    return queries;
  }

  private write(entries: readonly Entry[]): void {
    if (this.memory === null) {
      try {
        if (entries.length === 0) this.shelf.removeItem(this.key);
        else this.shelf.setItem(this.key, JSON.stringify(entries));
        return;
      } catch {
        // Full, or forbidden in this browser: go on without it, the page says so.
      }
    }
    this.memory = [...entries];
  }

  private parse(stored: string): Entry[] {
    try {
      const value: unknown = JSON.parse(stored);
      if (Array.isArray(value) && value.every(isEntry)) return value;
    } catch {
      // Not JSON: below.
    }
    // Not ours any more; put aside instead of thrown away, and never sent.
    try {
      this.shelf.setItem(`${this.key}:damaged`, stored);
      this.shelf.removeItem(this.key);
    } catch {
      this.memory = [];
    }
    return [];
  }
}

function isEntry(value: unknown): value is Entry {
  if (typeof value !== "object" || value === null) return false;
  const entry = value as Record<string, unknown>;
  return (
    (entry["kind"] === "answer" || entry["kind"] === "retract") &&
    typeof entry["uuid"] === "string" &&
    typeof entry["query"] === "string"
  );
}
