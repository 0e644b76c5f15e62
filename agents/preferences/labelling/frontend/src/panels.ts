// What stands around the clips: how far it is, why it waits, what happened to the last answer.
import { element, setText } from "./dom.js";
import type { Stats } from "./wire.js";

/** What fills the middle of the page. */
export type Mode = "loading" | "label" | "waiting" | "paused" | "finished" | "offline" | "expired" | "elsewhere";

export interface Card {
  readonly mode: Mode;
  readonly text: string;
}

const TITLES: Readonly<Record<Mode, string>> = {
  loading: "Getting clips …",
  label: "",
  waiting: "Nothing to compare just now",
  paused: "The session is paused",
  finished: "Done. Thank you!",
  offline: "No connection to the session",
  expired: "Your link is not valid any more",
  elsewhere: "You went on in another tab",
};

const BUTTONS: Readonly<Partial<Record<Mode, string>>> = {
  elsewhere: "Go on here",
  expired: "Try again",
  offline: "Try now",
};

export class Panels {
  private mode: Mode | null = null;
  private video = "";

  constructor(button: (mode: Mode) => void) {
    element("waiting-action").addEventListener("click", () => button(this.mode ?? "loading"));
    element("banner-close").addEventListener("click", () => (element("banner").hidden = true));
  }

  show({ mode, text }: Card): void {
    setText(element("waiting-text"), text);
    if (mode === this.mode) return;
    const had = element("stage").contains(document.activeElement);
    this.mode = mode;
    element("session").dataset["state"] = mode;
    element("stage").hidden = mode !== "label";
    element("waiting").hidden = mode === "label";
    setText(element("waiting-title"), TITLES[mode]);
    const button = element("waiting-action");
    button.hidden = BUTTONS[mode] === undefined;
    setText(button, BUTTONS[mode] ?? "");
    if (mode === "label" || mode === "loading") return;
    setText(element("spoken"), `${TITLES[mode]}. ${text}`);
    if (had) element("waiting-title").focus(); // what had the focus is gone
  }

  /** One line for everybody; screen readers read it out. */
  say(text: string): void {
    setText(element("said"), text);
    setText(element("spoken"), text);
  }

  /** Something that should not be missed, and that stays until it is closed. */
  warn(text: string): void {
    setText(element("banner-text"), text);
    element("banner").hidden = false;
  }

  line(away: boolean, unsent: number): void {
    const target = element("line");
    target.dataset["line"] = away ? "away" : "open";
    const kept = `${unsent} ${unsent === 1 ? "answer" : "answers"}`;
    if (away) setText(target, unsent === 0 ? "Offline" : `Offline · ${kept} kept here`);
    else setText(target, unsent > 1 ? `Sending ${kept} …` : "All saved");
  }

  stats(stats: Stats, minutes: number): void {
    const bar = element<HTMLProgressElement>("given-bar");
    bar.max = Math.max(stats.target, 1);
    bar.value = Math.min(stats.given, stats.target);
    setText(element("given-text"), `${whole(stats.given)} / ${whole(stats.target)}`);
    setText(element("tile-given"), `${whole(stats.given)} of ${whole(stats.target)}`);
    const stint = minutes >= 1 ? ` · ${Math.floor(minutes)} min` : "";
    setText(element("tile-mine"), `${whole(stats.mine)} by you${stint}`);
    setText(element("tile-pace"), stats.medianSeconds === null ? "–" : `${stats.medianSeconds.toFixed(1)} s`);
    setText(element("tile-accuracy"), stats.accuracy === null ? "–" : `${Math.round(100 * stats.accuracy)} %`);
    setText(element("tile-step"), stats.step === null ? "–" : whole(stats.step));
    setText(element("tile-training"), stats.steps === null ? "" : `of ${whole(stats.steps)}`);
    setText(element("waiting-training"), stats.training);
    this.policy(stats.video);
  }

  private policy(video: string | null): void {
    if (video === null || video === this.video) return;
    this.video = video;
    const player = element<HTMLVideoElement>("video");
    player.src = video;
    element("policy").hidden = false;
    // Refused where the browser saves power or data: it has its own button.
    if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) player.play().catch(() => undefined);
  }
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
