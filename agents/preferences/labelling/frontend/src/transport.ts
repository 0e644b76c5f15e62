// Where the clips are, and a place to drag them elsewhere.
import { element, setText } from "./dom.js";
import type { Moment } from "./player.js";

export class Transport {
  private readonly track = element("track");
  private readonly done = element("track-done");
  private readonly text = element("frame");
  private readonly button = element("play");
  private frames = 1;

  constructor(seek: (frame: number) => void) {
    const follow = (event: PointerEvent): void => {
      const { left, width } = this.track.getBoundingClientRect();
      seek(Math.floor(((event.clientX - left) / Math.max(width, 1)) * this.frames));
    };
    this.track.addEventListener("pointerdown", (event) => {
      this.track.setPointerCapture(event.pointerId);
      follow(event);
    });
    this.track.addEventListener("pointermove", (event) => {
      if (this.track.hasPointerCapture(event.pointerId)) follow(event);
    });
  }

  show({ frame, frames, playing }: Moment): void {
    this.frames = frames;
    this.done.style.transform = `scaleX(${(frame + 1) / frames})`;
    setText(this.text, `${frame + 1} / ${frames}`);
    if (this.button.dataset["playing"] !== String(playing)) {
      this.button.dataset["playing"] = String(playing);
      this.button.setAttribute("aria-label", playing ? "Pause" : "Play");
    }
  }

  setSpeed(speed: number): void {
    for (const button of document.querySelectorAll<HTMLElement>("[data-action^='speed-']")) {
      button.setAttribute("aria-pressed", String(button.dataset["action"] === `speed-${speed}`));
    }
  }
}
