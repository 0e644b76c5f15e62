// A person's session: pairs come, answers go, and the page says what happens.
import { ApiError } from "./api.js";
import type { Api } from "./api.js";
import { Stint } from "./breaks.js";
import type { Media } from "./media.js";
import type { Entry, Outbox } from "./outbox.js";
import type { Card, Mode, Panels } from "./panels.js";
import { Queue } from "./queue.js";
import { Sender } from "./sender.js";
import type { Stage } from "./stage.js";
import type { Tabs } from "./tabs.js";
import { uuid4 } from "./uuid.js";
import type { Choice, Query, Stats, Task, Wait } from "./wire.js";

const ASK_AGAIN_MS = 2000;
const RENEW_MS = 40_000;
/** Whoever did nothing for so long has left: what the page holds goes to others. */
const LEFT_MS = 5 * 60_000;
const HISTORY = 1000;

const SAID: Readonly<Record<Choice, string>> = {
  left: "Left is better",
  right: "Right is better",
  tie: "Equally good",
  cannot_tell: "Can't tell",
  skip: "Skipped",
  broken: "Flagged as broken",
};

type Route = "sender" | "lease" | "events";

export interface Parts {
  readonly api: Api;
  readonly task: Task;
  readonly outbox: Outbox;
  readonly media: Media;
  readonly stage: Stage;
  readonly panels: Panels;
  readonly tabs: Tabs;
  /** The left clip is drawn above the right one. */
  readonly stacked: () => boolean;
}

export class Session {
  private readonly queue: Queue;
  private readonly sender: Sender;
  private readonly stint = new Stint();
  private readonly troubles = new Map<Route, string>();
  private wait: Wait | null = null;
  private expired = "";
  private leasing = false;
  private leaseSeconds = 60;
  private leasedUntil = 0;
  private again = 0;
  private lastAct = Date.now();

  constructor(private readonly parts: Parts) {
    const { api, outbox, task } = parts;
    this.queue = new Queue(outbox, uuid4, task.prefetch);
    this.sender = new Sender(outbox, (entry) => api.send(entry), {
      sent: (entry, asked) => this.sent(entry, asked),
      refused: (entry, error) => this.refused(entry, error),
      lineChanged: (line, message) => (line === "expired" ? this.expire(message) : this.trouble("sender", line === "away", message)),
    });
    window.setInterval(() => this.renew(), RENEW_MS);
  }

  /** This tab works from now on. Kept answers go first: the server then knows what is left to ask. */
  async start(): Promise<void> {
    this.parts.tabs.claim();
    this.queue.clear();
    this.sender.resume();
    this.expired = "";
    this.wait = null;
    this.update();
    await Promise.race([this.sender.flush(), seconds(2)]);
    await this.refill();
  }

  /** Another tab of the same person works now. */
  leave(): void {
    this.sender.stop();
    this.queue.clear();
    this.update();
  }

  choose(choice: Choice, pressed: number): void {
    const { stage, panels, task } = this.parts;
    this.lastAct = Date.now();
    const hint = this.reasonNotYet(choice, task.minViewMs);
    if (hint !== "") {
      panels.say(hint);
      return;
    }
    const answer = this.queue.answer(choice, stage.watched(performance.now()));
    if (answer === null) return;
    panels.say(`${this.inWords(choice)}.`);
    this.update();
    if (stage.shows) measurePaint(pressed);
    void this.sender.flush();
    void this.refill();
    if (this.stint.answered(Date.now())) {
      panels.warn("25 minutes of comparing: a short break keeps the next answers as good. Nothing gets lost meanwhile.");
    }
  }

  async undo(): Promise<void> {
    const { panels } = this.parts;
    this.lastAct = Date.now();
    let undone = this.queue.undo();
    if (undone.kind === "nothing") {
      try {
        this.queue.remember(await this.parts.api.history(HISTORY));
      } catch {
        panels.say("What you answered before cannot be fetched just now.");
        return;
      }
      undone = this.queue.undo();
    }
    if (undone.kind === "nothing") {
      panels.say("There is nothing to undo.");
      return;
    }
    const choice = this.inWords(undone.choice as Choice).toLowerCase();
    panels.say(`Taken back: ${choice}.${undone.kind === "shown" ? " Here is the pair again." : ""}`);
    this.update();
    void this.sender.flush();
  }

  /** News of the server's event stream. */
  news(stats: Stats): void {
    this.trouble("events", false);
    this.parts.panels.stats(stats, this.stint.minutes(Date.now()));
    const stale = this.wait !== null && this.wait.reason !== stats.wait.reason;
    if (this.queue.current === null && this.wait !== null) this.wait = stats.wait;
    this.update();
    if (this.queue.current === null && stale) void this.refill();
  }

  trouble(whose: Route, is: boolean, message = ""): void {
    if (is === this.troubles.has(whose)) return;
    if (is) this.troubles.set(whose, message);
    else this.troubles.delete(whose);
    this.update();
  }

  expire(message: string): void {
    this.expired = message || "The link has expired or was revoked.";
    this.update();
  }

  /** The page is looked at again. What it holds may have gone to others meanwhile: it asks for pairs anew. */
  comeBack(): void {
    this.lastAct = Date.now();
    if (this.queue.held.length > 0 && Date.now() > this.leasedUntil) void this.refill("anew");
  }

  /** Gives up the pairs on this page for what the server offers now. */
  askAnew(): void {
    void this.refill("anew");
  }

  /** The network is back, or somebody does not want to wait. */
  hurry(): void {
    void this.sender.flush();
    void this.refill();
  }

  private sent(entry: Entry, asked: Query | null): void {
    if (asked !== null) this.queue.readd(asked);
    this.update();
    if (entry.kind === "retract") void this.refill();
  }

  private refused(entry: Entry, error: ApiError): void {
    this.queue.drop(entry.query);
    const what = entry.kind === "answer" ? "An answer was not taken" : "An answer could not be taken back";
    this.parts.panels.warn(`${what}. ${error.message}`);
    this.update();
    void this.refill();
  }

  /** renew: keep what is here from others. anew: give it up for what the server offers now. */
  private async refill(how: "more" | "renew" | "anew" = "more"): Promise<void> {
    const { queue } = this;
    if (!this.parts.tabs.active || this.expired !== "" || this.leasing || (queue.wanted === 0 && how === "more")) return;
    window.clearTimeout(this.again);
    this.leasing = true;
    let pause = ASK_AGAIN_MS;
    const since = queue.serial;
    const held = how === "anew" ? [] : queue.held;
    const count = how === "anew" ? this.parts.task.prefetch + 1 : Math.max(1, queue.wanted);
    try {
      const { queries, wait } = await this.parts.api.lease(count, held);
      if (!this.parts.tabs.active) return;
      if (how === "anew" && queue.serial === since) queue.release();
      // What came may be what was just answered: only a pair that is new is a reason to ask for more at once.
      if (queue.add(queries, since) > 0) pause = 0;
      this.wait = wait;
      this.troubles.delete("lease");
      this.leaseSeconds = queries[0]?.expiresIn ?? this.leaseSeconds;
      this.leasedUntil = Date.now() + 1000 * this.leaseSeconds;
    } catch (thrown) {
      const error = thrown instanceof ApiError ? thrown : new ApiError("refused", String(thrown));
      if (error.trouble === "expired") this.expire(error.message);
      else if (error.trouble === "away") this.troubles.set("lease", error.message);
      else this.wait = { reason: "refused", text: error.message };
    } finally {
      this.leasing = false;
    }
    if (queue.wanted > 0) this.again = window.setTimeout(() => void this.refill(), pause);
    this.update();
  }

  private renew(): void {
    const { held, waiting } = this.queue;
    if (document.hidden || held.length === 0 || Date.now() - this.lastAct > LEFT_MS) return;
    // Each renewal brings a pair more: somebody who does not answer must not gather them.
    if (waiting.length <= 2 * this.parts.task.prefetch) void this.refill("renew");
  }

  /** Why an answer does not count yet, or "". */
  private reasonNotYet(choice: Choice, minViewMs: number): string {
    const { stage } = this.parts;
    if (this.queue.current === null) return "There is no pair to answer just now.";
    if (stage.stuck) return choice === "broken" || choice === "skip" ? "" : "These clips cannot be shown: flag or skip them.";
    if (!stage.shows) return "The clips are still loading.";
    if (!stage.viewing.hasMoved) return "Play the clips first (Space).";
    if (stage.viewing.milliseconds(performance.now()) < minViewMs) return "Look at both clips first, then answer.";
    return "";
  }

  private inWords(choice: Choice): string {
    const words = SAID[choice];
    return this.parts.stacked() ? words.replace("Left", "Upper").replace("Right", "Lower") : words;
  }

  private update(): void {
    const { media, stage, panels, outbox, tabs } = this.parts;
    const current = tabs.active && this.expired === "" ? this.queue.current : null;
    for (const query of [this.queue.current, ...this.queue.waiting]) {
      if (query === null) continue;
      // A failure shows when the pair's turn comes.
      media.want(query.left.media).catch(() => undefined);
      media.want(query.right.media).catch(() => undefined);
    }
    panels.show(this.card(current !== null));
    stage.present(current);
    panels.line(this.troubles.size > 0, outbox.entries().length);
    if (!outbox.kept) panels.warn("This browser keeps nothing for this page: close it only when it says “All saved”.");
  }

  private card(labels: boolean): Card {
    const kept = this.parts.outbox.entries().length;
    const unsent = kept === 0 ? "" : ` ${kept === 1 ? "One answer is" : `${kept} answers are`} kept in this browser`;
    if (!this.parts.tabs.active) return { mode: "elsewhere", text: "One tab at a time answers, so that no pair is answered twice." };
    if (this.expired !== "") {
      const then = unsent === "" ? "" : `${unsent} and sent when you come back with a new link.`;
      return { mode: "expired", text: `${this.expired} Ask the session's owner for a new link.${then}` };
    }
    if (labels) return { mode: "label", text: "" };
    const trouble = this.troubles.get("lease") ?? this.troubles.get("sender");
    if (trouble !== undefined) {
      return { mode: "offline", text: `${trouble} The page tries again by itself.${unsent === "" ? "" : `${unsent} and sent then.`}` };
    }
    if (this.wait === null) return { mode: "loading", text: "" };
    return { mode: modeOf(this.wait.reason), text: this.wait.text };
  }
}

function modeOf(reason: string): Mode {
  if (reason === "paused") return "paused";
  if (reason === "none") return "loading"; // there is something: it is on its way
  return reason === "finished" || reason === "target_reached" ? "finished" : "waiting";
}

/** Leaves a mark of how long it took from the key to the next pair on the screen; benchmarks read it. */
function measurePaint(pressed: number): void {
  requestAnimationFrame(() => {
    setTimeout(() => performance.measure("surefoot:next-pair", { start: pressed, end: performance.now() }));
  });
}

function seconds(count: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, count * 1000));
}
