// How long somebody has been at it, and when a break would do good.

export const BREAK_AFTER_MINUTES = 25;
const BREAK_MINUTES = 5;

export class Stint {
  private began: number | null = null;
  private last = 0;
  private hinted = false;

  /** An answer was given; returns whether it is time for a hint (once a stint). */
  answered(now: number): boolean {
    if (this.began === null || now - this.last > BREAK_MINUTES * 60_000) {
      this.began = now;
      this.hinted = false;
    }
    this.last = now;
    if (this.hinted || this.minutes(now) < BREAK_AFTER_MINUTES) return false;
    this.hinted = true;
    return true;
  }

  /** Since the first answer after the last break. */
  minutes(now: number): number {
    return this.began === null ? 0 : (now - this.began) / 60_000;
  }
}
