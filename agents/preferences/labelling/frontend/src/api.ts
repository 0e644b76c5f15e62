// The server's routes. Failures are sorted by what the page can do about them.
import type { Entry } from "./outbox.js";
import { readHistory, readLease, readQuery, readTask } from "./wire.js";
import type { Given, Query, Task, Wait } from "./wire.js";

/** away: try again later. expired: the link holds no more. refused: trying again changes nothing. */
export type Trouble = "away" | "expired" | "refused";

export class ApiError extends Error {
  constructor(
    readonly trouble: Trouble,
    message: string,
    readonly status = 0,
    readonly retrySeconds = 0,
  ) {
    super(message);
  }
}

export type Fetch = (address: string, options: RequestInit) => Promise<Response>;

const TIMEOUT_MS = 15_000;
const NO_ANSWER = "The server does not answer.";

export class Api {
  constructor(private readonly fetch: Fetch = (address, options) => window.fetch(address, options)) {}

  async task(): Promise<Task> {
    return readTask(await this.json("GET", "/api/task"));
  }

  /** Up to `count` further queries; those in `held` stay reserved for this page. */
  async lease(count: number, held: readonly string[]): Promise<{ queries: Query[]; wait: Wait }> {
    return readLease(await this.json("POST", "/api/lease", { n: count, held }));
  }

  /** Returns the pair that is asked again, when an answer was taken back. */
  async send(entry: Entry): Promise<Query | null> {
    if (entry.kind === "retract") {
      const reply = await this.json("POST", `/api/labels/${encodeURIComponent(entry.of)}/retract`, { uuid: entry.uuid });
      return readQuery((reply as { query?: unknown }).query);
    }
    const { uuid, query, choice, shown_ms, loops, speed, client_time } = entry;
    await this.json("POST", "/api/labels", { uuid, query, choice, shown_ms, loops, speed, client_time });
    return null;
  }

  async history(limit: number): Promise<Given[]> {
    return readHistory(await this.json("GET", `/api/history?limit=${limit}`));
  }

  async join(token: string): Promise<void> {
    await this.request("POST", "/api/session", { token });
  }

  async media(address: string): Promise<Blob> {
    return (await this.request("GET", address)).blob();
  }

  private async json(method: string, address: string, body?: unknown): Promise<unknown> {
    const response = await this.request(method, address, body);
    try {
      return await response.json();
    } catch {
      throw new ApiError("away", NO_ANSWER, response.status); // cut off half way, or a proxy's own page
    }
  }

  private async request(method: string, address: string, body?: unknown): Promise<Response> {
    const options: RequestInit = { method, credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT_MS) };
    if (body !== undefined) {
      options.body = JSON.stringify(body);
      options.headers = { "Content-Type": "application/json" };
    }
    let response: Response;
    try {
      response = await this.fetch(address, options);
    } catch {
      throw new ApiError("away", NO_ANSWER);
    }
    if (response.ok) return response;
    throw new ApiError(
      troubleOf(response.status),
      await detail(response),
      response.status,
      Number(response.headers.get("Retry-After")) || 0,
    );
  }
}

export function troubleOf(status: number): Trouble {
  if (status === 401) return "expired";
  return status === 408 || status === 429 || status >= 500 ? "away" : "refused";
}

async function detail(response: Response): Promise<string> {
  try {
    const body: unknown = await response.json();
    const said = (body as { detail?: unknown } | null)?.detail;
    if (typeof said === "string") return said;
  } catch {
    // No JSON: whatever stands before our server made it.
  }
  return `The server answered ${response.status}.`;
}
