// What the server tells the owner. It comes from our own server, so shapes are trusted after one look.

export interface Rate {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly evidence: number;
}

export interface Person {
  readonly id: string;
  readonly name: string;
  readonly role: string;
  readonly labels: number;
  readonly median_seconds: number | null;
  readonly error_rate: Rate | null;
  readonly self_consistency: number | null;
  readonly side_bias: Rate | null;
  readonly gold_accuracy: number | null;
  readonly revoked: string | null;
  readonly expires: string | null;
}

export interface Overview {
  readonly study: { readonly name: string; readonly env: string; readonly state: string; readonly target: number };
  readonly counts: Readonly<Record<string, number>>;
  readonly training: { readonly state: string; readonly text: string };
  readonly labels_per_hour: readonly { readonly hour: string; readonly labels: number }[];
  readonly people: readonly Person[];
  readonly kappa: readonly {
    readonly a: string;
    readonly b: string;
    readonly kappa: number | null;
    readonly shared: number;
  }[];
  readonly alpha: number | null;
  readonly events: readonly { readonly time: string; readonly kind: string; readonly text: string }[];
  readonly reward: readonly {
    readonly version: number;
    readonly labels: number;
    readonly step: number;
    readonly accuracy: number | null;
  }[];
}

export interface Flagged {
  readonly query: string;
  readonly key: string;
  readonly people: readonly string[];
  readonly left: string | null;
  readonly right: string | null;
}

export interface Undrawable {
  readonly reason: string;
  readonly clips: number;
}

export interface GivenLabel {
  readonly uuid: string;
  readonly query: string;
  readonly key: string;
  readonly kind: string;
  readonly annotator: string;
  readonly choice: string;
  readonly server_time: string;
  readonly retracted: boolean;
}

export interface Gold {
  readonly key: string;
  readonly choice: string;
}

/** The server refused; the message is for the person. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Sends a request and gives the answer's JSON, or null where it has none. */
export async function ask(method: string, path: string, body?: unknown): Promise<unknown> {
  const init: RequestInit = { method, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    const upload = body instanceof Blob;
    init.headers = {
      Accept: "application/json",
      "Content-Type": upload ? "application/x-ndjson" : "application/json",
    };
    init.body = upload ? body : JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new Refused(0, "The server does not answer. This page goes on by itself when it is back.");
  }
  const text = await response.text();
  let content: unknown = null;
  try {
    content = text === "" ? null : JSON.parse(text);
  } catch {
    content = null;
  }
  if (!response.ok) {
    const detail = (content as { detail?: unknown } | null)?.detail;
    throw new Refused(response.status, typeof detail === "string" ? detail : `The server answered ${response.status}.`);
  }
  return content;
}
