// Stand-ins for the browser's and the server's part.
import type { Shelf } from "../src/shelf.js";
import type { Query } from "../src/wire.js";

export class MemoryShelf implements Shelf {
  readonly items = new Map<string, string>();
  full = false;
  getItem(key: string): string | null {
    return this.items.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    if (this.full) throw new Error("QuotaExceededError");
    this.items.set(key, value);
  }
  removeItem(key: string): void {
    this.items.delete(key);
  }
}

const sheet = { media: "/media/ab", frames: 4, columns: 2, width: 8, height: 8, reward: [] };

export function pair(query: string): Query {
  return { query, left: sheet, right: sheet, fps: 10, why: "", expiresIn: 60 };
}

export function counter(prefix: string): () => string {
  let count = 0;
  return () => `${prefix}${++count}`;
}
