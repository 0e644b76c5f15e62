// The pair on the screen: painted, played, and for how long it was seen.
import type { Action } from "./keys.js";
import { element, setText } from "./dom.js";
import type { Media } from "./media.js";
import { Opinion } from "./opinion.js";
import { Player } from "./player.js";
import { Transport } from "./transport.js";
import { Viewing } from "./viewing.js";
import type { Watched } from "./queue.js";
import type { Query } from "./wire.js";
import type { Wishes } from "./wishes.js";

/** A clip's picture that is late is said to be loading only after this: most come sooner. */
const PATIENCE_MS = 200;
const RETRY_MS = 2000;

export class Stage {
  readonly viewing = new Viewing();
  private readonly player: Player;
  private readonly transport: Transport;
  private readonly opinion: Opinion;
  private readonly still = window.matchMedia("(prefers-reduced-motion: reduce)");
  private readonly inView = new Set<Element>();
  private readonly lost = new Set<string>();
  private readonly canvases: readonly [HTMLCanvasElement, HTMLCanvasElement];
  private query: Query | null = null;
  private painted = false;
  private failed = false;
  private late = false;
  private resume = false;
  private timer = 0;

  constructor(
    private readonly media: Media,
    private readonly wishes: Wishes,
    private readonly askAnew: () => void,
  ) {
    this.canvases = [canvasOf("left"), canvasOf("right")];
    this.opinion = new Opinion(wishes.opinion);
    this.transport = new Transport((frame) => this.change((now) => this.player.clock.goTo(frame, now)));
    this.player = new Player(this.canvases, (moment) => {
      this.transport.show(moment);
      this.opinion.show(moment.frame);
    });
    this.player.clock.setSpeed(wishes.speed, 0);
    this.transport.setSpeed(wishes.speed);
    this.watch();
  }

  /** The pair is painted: it can be answered. */
  get shows(): boolean {
    return this.painted;
  }

  /** Its clips cannot be loaded, or not yet: it can be flagged or skipped. */
  get stuck(): boolean {
    return this.failed || this.late;
  }

  get playing(): boolean {
    return this.player.clock.playing;
  }

  watched(now: number): Watched {
    return {
      shown_ms: Math.round(this.viewing.milliseconds(now)),
      loops: Math.round(this.player.clock.loops(now) * 100) / 100,
      speed: this.player.clock.speed,
    };
  }

  /** Shows a pair: at once if its pictures are decoded, else as soon as they are. */
  present(query: Query | null): void {
    if (query === this.query) return;
    this.query = query;
    this.painted = this.failed = this.late = false;
    delete element("session").dataset["pair"];
    element("gone").hidden = true;
    window.clearTimeout(this.timer);
    this.loading(false);
    if (query === null) {
      this.player.clear();
      return;
    }
    if (!this.paint(query)) void this.load(query);
  }

  act(action: Action): void {
    if (action.kind === "opinion") {
      this.wishes.opinion = this.opinion.toggle();
    } else if (!this.painted) {
      return;
    } else if (action.kind === "play") {
      this.change((now) => (this.playing ? this.player.clock.pause(now) : this.player.clock.play(now)));
    } else if (action.kind === "restart") {
      this.change((now) => this.player.clock.restart(now));
    } else if (action.kind === "step") {
      this.change((now) => this.player.clock.step(action.by, now));
    } else if (action.kind === "speed") {
      this.wishes.speed = action.speed;
      this.transport.setSpeed(action.speed);
      this.change((now) => this.player.clock.setSpeed(action.speed, now), false);
    }
  }

  /** Something lies over the clips (a dialog, another tab): they stand still and do not count as seen. */
  cover(covered: boolean): void {
    const now = performance.now();
    if (covered) {
      this.resume ||= this.playing;
      this.player.clock.pause(now);
    } else if (this.resume && this.isFree()) {
      this.resume = false;
      this.player.clock.play(now);
      this.viewing.setMoved(now);
    }
    this.player.refresh(now);
    this.count();
    this.hint();
  }

  tryAgain(): void {
    const query = this.query;
    this.query = null;
    this.present(query);
    this.askAnew();
  }

  private change(how: (now: number) => void, moves = true): void {
    const now = performance.now();
    how(now);
    if (moves && (this.playing || this.player.clock.frame(now) > 0)) this.viewing.setMoved(now);
    this.hint();
    this.player.refresh(now);
  }

  private paint(query: Query): boolean {
    const left = this.media.get(query.left.media);
    const right = this.media.get(query.right.media);
    if (left === null || right === null) return false;
    const now = performance.now();
    // With reduced motion nothing moves before somebody asks for it, and then goes on as it was.
    if (!this.still.matches && this.isFree()) this.player.clock.play(now);
    else this.resume ||= !this.still.matches;
    this.opinion.load(query);
    this.player.show(query, left, right, now);
    this.painted = true;
    element("session").dataset["pair"] = query.query;
    this.loading(false);
    this.viewing.begin(this.playing, now);
    this.count();
    this.hint();
    return true;
  }

  private async load(query: Query): Promise<void> {
    this.timer = window.setTimeout(() => this.loading(true), this.late ? RETRY_MS : PATIENCE_MS);
    try {
      await Promise.all([this.media.want(query.left.media), this.media.want(query.right.media)]);
      if (this.query !== query) return;
      window.clearTimeout(this.timer);
      this.paint(query);
    } catch (thrown) {
      if (this.query !== query) return;
      window.clearTimeout(this.timer);
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      if (isAway(thrown)) {
        this.late = true;
        this.loading(true, why);
        this.timer = window.setTimeout(() => void this.load(query), RETRY_MS);
        return;
      }
      this.failed = true;
      this.loading(false);
      const known = this.lost.has(query.query);
      this.lost.add(query.query);
      if (!known) this.askAnew(); // drawn again meanwhile, it has another name
      element("gone-text").textContent = `These clips cannot be shown. ${why}`;
      element("gone").hidden = false;
      this.player.clear();
    }
  }

  private loading(on: boolean, why = "Loading the clips …"): void {
    element("loading").hidden = !on;
    if (!on) return;
    setText(element("loading"), why);
    element("start").hidden = true;
    this.player.clear();
  }

  /** Over a pair that waits to be set in motion. */
  private hint(): void {
    element("start").hidden = !this.painted || this.viewing.hasMoved || this.resume;
  }

  private isFree(): boolean {
    return !document.hidden && document.querySelector("dialog[open]") === null;
  }

  private count(): void {
    const shown = this.painted && this.isFree() && this.inView.size === this.canvases.length;
    this.viewing.setShown(shown, performance.now());
  }

  private watch(): void {
    const observer = new IntersectionObserver(
      (entries) => {
        for (const { target, intersectionRatio } of entries) {
          if (intersectionRatio >= 0.5) this.inView.add(target);
          else this.inView.delete(target);
        }
        this.count();
      },
      { threshold: [0, 0.5, 1] },
    );
    for (const canvas of this.canvases) observer.observe(canvas);
    document.addEventListener("visibilitychange", () => this.cover(document.hidden));
  }
}

function canvasOf(side: string): HTMLCanvasElement {
  const canvas = element(side).querySelector<HTMLCanvasElement>(".screen canvas");
  if (canvas === null) throw new Error(`the page has no canvas for the ${side} clip`);
  return canvas;
}

function isAway(thrown: unknown): boolean {
  return thrown instanceof Error && "trouble" in thrown && thrown.trouble === "away";
}
