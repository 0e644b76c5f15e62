// The server's news, and a fresh connection whenever the old one is dead.
import { readStats } from "./wire.js";
import type { Stats } from "./wire.js";

const AGAIN_MS = 5000;

export interface Reader {
  stats(stats: Stats): void;
  away(): void;
  ended(message: string): void;
}

export class Events {
  private source: EventSource | null = null;
  private timer = 0;

  constructor(private readonly reader: Reader) {}

  open(): void {
    this.close();
    const source = new EventSource("/api/events");
    this.source = source;
    source.addEventListener("stats", (event) => {
      try {
        this.reader.stats(readStats(JSON.parse(String(event.data))));
      } catch (error) {
        console.error("news that this page does not understand", error);
      }
    });
    source.addEventListener("end", (event) => {
      this.close();
      this.reader.ended(detailOf(event.data));
    });
    source.addEventListener("error", () => {
      this.reader.away();
      // CLOSED: the server refused it (it starts, or the link has ended); the browser gives up then.
      if (source.readyState === EventSource.CLOSED) this.timer = window.setTimeout(() => this.open(), AGAIN_MS);
    });
  }

  close(): void {
    window.clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}

function detailOf(data: unknown): string {
  try {
    const detail = (JSON.parse(String(data)) as { detail?: unknown }).detail;
    return typeof detail === "string" ? detail : "";
  } catch {
    return "";
  }
}
