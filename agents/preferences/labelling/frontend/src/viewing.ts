/** For how long both clips were on the screen and had been set in motion. */
export class Viewing {
  private total = 0;
  private since: number | null = null;
  private shown = false;
  private moved = false;

  /** Another pair: nothing seen yet. `moved`: whether it plays from the start. */
  begin(moved: boolean, now: number): void {
    this.total = 0;
    this.since = null;
    this.moved = moved;
    this.update(now);
  }

  /** Both clips are in view of a visible page, or no longer. */
  setShown(shown: boolean, now: number): void {
    this.shown = shown;
    this.update(now);
  }

  /** The clips were played or stepped: a still first frame is no clip. */
  setMoved(now: number): void {
    this.moved = true;
    this.update(now);
  }

  get hasMoved(): boolean {
    return this.moved;
  }

  milliseconds(now: number): number {
    return this.total + (this.since === null ? 0 : Math.max(now - this.since, 0));
  }

  private update(now: number): void {
    this.total = this.milliseconds(now);
    this.since = this.shown && this.moved ? now : null;
  }
}
