// What the model thinks of the pair on the screen. Off at first: it could sway people.
import { element, setText } from "./dom.js";
import { drawSparkline, scaleOf, total } from "./sparkline.js";
import type { Scale } from "./sparkline.js";
import type { Query } from "./wire.js";

interface Panel {
  readonly root: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  readonly sum: HTMLElement;
}

export class Opinion {
  private readonly panels: readonly Panel[] = ["left", "right"].map(panelOf);
  private query: Query | null = null;
  private scale: Scale = { low: 0, high: 1 };
  private frame = 0;

  constructor(private on: boolean) {
    this.reveal();
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    window.addEventListener("resize", () => this.draw());
  }

  toggle(): boolean {
    this.on = !this.on;
    this.reveal();
    return this.on;
  }

  load(query: Query): void {
    this.query = query;
    this.scale = scaleOf(query.left.reward, query.right.reward);
    this.reveal();
  }

  show(frame: number): void {
    this.frame = frame;
    if (this.on) this.draw();
  }

  private reveal(): void {
    const known = this.query !== null && this.query.left.reward.length > 0 && this.query.right.reward.length > 0;
    for (const button of document.querySelectorAll("[data-action='opinion']")) {
      button.setAttribute("aria-pressed", String(this.on));
    }
    element("session").dataset["opinion"] = this.on ? "on" : "off";
    element("why").hidden = !this.on || this.query === null;
    if (this.query === null) return;
    setText(element("why"), known ? this.query.why : `${this.query.why} There is no reward model yet.`);
    for (const [index, reward] of [this.query.left.reward, this.query.right.reward].entries()) {
      const panel = this.panels[index];
      if (panel === undefined) continue;
      panel.root.hidden = !this.on || !known;
      const sum = total(reward).toFixed(2);
      setText(panel.sum, sum);
      panel.canvas.setAttribute("aria-label", `Predicted reward over time, ${sum} in all`);
    }
    if (this.on) this.draw();
  }

  private draw(): void {
    if (!this.on || this.query === null) return;
    for (const [index, reward] of [this.query.left.reward, this.query.right.reward].entries()) {
      const panel = this.panels[index];
      if (panel !== undefined && !panel.root.hidden) drawSparkline(panel.canvas, reward, this.scale, this.frame);
    }
  }
}

function panelOf(side: string): Panel {
  const root = element(side).querySelector<HTMLElement>(".opinion");
  const canvas = root?.querySelector<HTMLCanvasElement>("canvas");
  const sum = root?.querySelector<HTMLElement>(".sum b");
  if (!root || !canvas || !sum) throw new Error(`the page has no panel for the model's view of the ${side} clip`);
  return { root, canvas, sum };
}
