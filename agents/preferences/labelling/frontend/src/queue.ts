// The pairs that this page holds: one on the screen, some ready behind it, and those answered before.
import type { Answer, Outbox } from "./outbox.js";
import type { Choice, Given, Query } from "./wire.js";

export interface Watched {
  readonly shown_ms: number;
  readonly loops: number;
  readonly speed: number;
}

interface Past {
  readonly uuid: string;
  readonly query: string;
  readonly choice: string;
  readonly pair: Query | null; // null: answered before the page was loaded
  readonly serial: number;
}

/** shown: the pair is on the screen again. asked: the server has to send it. */
export type Undone = { readonly kind: "shown" | "asked"; readonly choice: string } | { readonly kind: "nothing" };

export class Queue {
  private shown: Query | null = null;
  private ready: Query[] = [];
  private past: Past[] = [];
  private answers = 0;

  constructor(
    private readonly outbox: Outbox,
    private readonly uuid: () => string,
    private readonly ahead: number,
    private readonly now: () => Date = () => new Date(),
  ) {}

  get current(): Query | null {
    return this.shown;
  }

  /** In the order in which they come. */
  get waiting(): readonly Query[] {
    return this.ready;
  }

  /** Answers so far; to be read before a request for more is sent. */
  get serial(): number {
    return this.answers;
  }

  /** How many more to ask the server for. */
  get wanted(): number {
    return Math.max(0, this.ahead + 1 - this.held.length);
  }

  get held(): string[] {
    return [...(this.shown === null ? [] : [this.shown]), ...this.ready].map((query) => query.query);
  }

  /** What was answered before this page was loaded, oldest first. */
  remember(given: readonly Given[]): void {
    const gone = new Set(this.past.map((one) => one.uuid));
    for (const entry of this.outbox.entries()) if (entry.kind === "retract") gone.add(entry.of);
    const older = given
      .filter((one) => !gone.has(one.uuid))
      .map(({ uuid, query, choice }) => ({ uuid, query, choice, pair: null, serial: 0 }));
    this.past = [...older, ...this.past];
  }

  /**
   * Takes what the server leased; drops what is here already, or was answered while the lease was on
   * its way: `since` is the serial before it was asked for. Returns how many were new.
   */
  add(queries: readonly Query[], since: number): number {
    const here = new Set([...this.outbox.answered(), ...this.held]);
    for (const past of this.past) if (past.serial > since) here.add(past.query);
    const before = this.ready.length;
    for (const query of queries) {
      if (!here.has(query.query)) this.ready.push(query);
      here.add(query.query);
    }
    const added = this.ready.length - before;
    this.advance();
    return added;
  }

  /** A pair that the server sent after an undo: it comes next, unless it is here or answered again. */
  readd(query: Query): void {
    const here = this.held.includes(query.query) || this.past.some((one) => one.query === query.query);
    if (!here && !this.outbox.answered().has(query.query)) this.push(query);
  }

  /** Keeps the answer and goes on to the next pair. */
  answer(choice: Choice, watched: Watched): Answer | null {
    if (this.shown === null) return null;
    const answer: Answer = {
      kind: "answer",
      uuid: this.uuid(),
      query: this.shown.query,
      choice,
      ...watched,
      client_time: this.now().toISOString(),
      tried: false,
    };
    this.outbox.add(answer);
    this.answers += 1;
    this.past.push({ uuid: answer.uuid, query: answer.query, choice, pair: this.shown, serial: this.answers });
    this.shown = null;
    this.advance();
    return answer;
  }

  /** Takes the last answer back, and the one before it the next time. */
  undo(): Undone {
    const last = this.past.pop();
    if (last === undefined) return { kind: "nothing" };
    const entry = this.outbox.find(last.uuid);
    if (entry === undefined || entry.tried) {
      // The server has it, or may have it.
      this.outbox.add({ kind: "retract", uuid: this.uuid(), of: last.uuid, query: last.query, tried: false });
    } else {
      this.outbox.remove(last.uuid);
    }
    if (last.pair === null) return { kind: "asked", choice: last.choice };
    this.push(last.pair);
    return { kind: "shown", choice: last.choice };
  }

  /** The server does not want an answer to it (any more). */
  drop(query: string): void {
    this.ready = this.ready.filter((one) => one.query !== query);
    this.past = this.past.filter((one) => one.query !== query);
    if (this.shown?.query === query) this.shown = null;
    this.advance();
  }

  /** Gives up the pairs that were not answered. */
  release(): void {
    this.shown = null;
    this.ready = [];
  }

  /** Forgets everything; what is in the outbox stays there. */
  clear(): void {
    this.release();
    this.past = [];
  }

  private push(query: Query): void {
    if (this.shown !== null) this.ready.unshift(this.shown);
    this.shown = query;
  }

  private advance(): void {
    if (this.shown === null) this.shown = this.ready.shift() ?? null;
  }
}
