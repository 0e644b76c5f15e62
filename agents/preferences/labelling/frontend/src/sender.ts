// Sends the outbox in order, one at a time, until it is empty; waits and tries again while the server is away.
import { ApiError } from "./api.js";
import type { Entry, Outbox } from "./outbox.js";
import type { Query } from "./wire.js";

const WAITS_SECONDS = [0.5, 1, 2, 4, 8, 15] as const;

export type Line = "open" | "away" | "expired";

export interface Listener {
  /** `asked`: the pair of an answer that was taken back. */
  sent(entry: Entry, asked: Query | null): void;
  refused(entry: Entry, error: ApiError): void;
  lineChanged(line: Line, message: string): void;
}

type Send = (entry: Entry) => Promise<Query | null>;
type Sleep = (seconds: number, wake: AbortSignal) => Promise<void>;

export class Sender {
  private busy = false;
  private stopped = false;
  private waking = new AbortController();
  private line: Line = "open";

  constructor(
    private readonly outbox: Outbox,
    private readonly send: Send,
    private readonly listener: Listener,
    private readonly sleep: Sleep = sleepUntil,
  ) {}

  /** Sends what is there; resolves when the outbox is empty or sending has stopped. */
  async flush(): Promise<void> {
    if (this.busy || this.stopped) {
      this.waking.abort(); // it waits between two tries: try now
      return;
    }
    this.busy = true;
    try {
      await this.run();
    } finally {
      this.busy = false;
    }
  }

  /** Another tab took over. What is in the outbox stays there for it. */
  stop(): void {
    this.stopped = true;
    this.waking.abort();
  }

  /** This tab sends again; `flush` begins. */
  resume(): void {
    this.stopped = false;
  }

  private async run(): Promise<void> {
    for (let failures = 0; !this.stopped; ) {
      const entry = this.outbox.entries()[0];
      if (entry === undefined) return;
      this.outbox.markTried(entry.uuid);
      try {
        const asked = await this.send(entry);
        this.outbox.remove(entry.uuid);
        failures = 0;
        this.setLine("open", "");
        this.listener.sent(entry, asked);
      } catch (thrown) {
        const error = thrown instanceof ApiError ? thrown : new ApiError("away", String(thrown));
        if (error.trouble === "refused") {
          this.outbox.remove(entry.uuid);
          this.setLine("open", "");
          this.listener.refused(entry, error);
          continue;
        }
        this.setLine(error.trouble, error.message);
        if (error.trouble === "expired") return;
        await this.pause(Math.max(WAITS_SECONDS[Math.min(failures, WAITS_SECONDS.length - 1)] ?? 15, error.retrySeconds));
        failures += 1;
      }
    }
  }

  private async pause(seconds: number): Promise<void> {
    this.waking = new AbortController();
    await this.sleep(seconds, this.waking.signal);
  }

  private setLine(line: Line, message: string): void {
    if (line === this.line) return;
    this.line = line;
    this.listener.lineChanged(line, message);
  }
}

function sleepUntil(seconds: number, wake: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    wake.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
