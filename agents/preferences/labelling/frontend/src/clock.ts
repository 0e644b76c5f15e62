// One clock for both clips. Frames follow from the time since an anchor, so nothing adds up to drift.

/** Real seconds for which the last frame stays before a clip starts again. */
export const PAUSE_SECONDS = 0.3;
export const SPEEDS = [0.25, 0.5, 1, 2] as const;

export class Clock {
  private frames = 1;
  private fps = 1;
  private rate = 1;
  private anchor = 0; // ms at which the present loop began, while playing
  private held = 0; // seconds into the loop, while standing still
  private done = 0; // loops before the present one
  private running = false;

  get playing(): boolean {
    return this.running;
  }

  get speed(): number {
    return this.rate;
  }

  /** Shows another pair from its first frame; playing or not stays as it is. */
  load(frames: number, fps: number, now: number): void {
    this.frames = frames;
    this.fps = fps;
    this.done = 0;
    this.seek(0, now);
  }

  play(now: number): void {
    if (this.running) return;
    this.running = true;
    this.anchor = now - this.held * 1000;
  }

  pause(now: number): void {
    if (!this.running) return;
    this.held = this.into(now);
    this.running = false;
  }

  restart(now: number): void {
    this.done = this.loops(now);
    this.seek(0, now);
  }

  /** The present frame stays where it is. */
  setSpeed(speed: number, now: number): void {
    const into = this.into(now);
    const played = Math.min(into, this.duration) * this.rate;
    const waited = Math.max(into - this.duration, 0);
    this.rate = speed;
    this.seek(played / speed + waited, now);
  }

  /** Stands still `by` frames further; past the end it goes on at the start. */
  step(by: number, now: number): void {
    this.goTo(((this.frame(now) + by) % this.frames + this.frames) % this.frames, now);
  }

  /** Stands still at a frame. */
  goTo(frame: number, now: number): void {
    this.pause(now);
    // The middle of the frame: its edge could be rounded to the one before.
    this.held = (Math.min(Math.max(frame, 0), this.frames - 1) + 0.5) / (this.fps * this.rate);
  }

  frame(now: number): number {
    return Math.min(this.frames - 1, Math.floor(this.into(now) * this.rate * this.fps + 1e-6));
  }

  /** How often the clips have been seen, parts of a loop included. */
  loops(now: number): number {
    const part = Math.min(this.into(now) / this.duration, 1); // first: it counts whole loops
    return this.done + part;
  }

  private get duration(): number {
    return this.frames / (this.fps * this.rate);
  }

  private into(now: number): number {
    if (!this.running) return this.held;
    this.count(now);
    return Math.max(now - this.anchor, 0) / 1000;
  }

  /** Moves the anchor to the start of the loop that plays now. */
  private count(now: number): void {
    if (!this.running) return;
    const length = (this.duration + PAUSE_SECONDS) * 1000;
    const whole = Math.floor((now - this.anchor) / length);
    if (whole < 1) return;
    this.done += whole;
    this.anchor += whole * length;
  }

  private seek(into: number, now: number): void {
    this.held = into;
    this.anchor = now - into * 1000;
  }
}
