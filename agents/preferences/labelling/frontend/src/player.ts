// Draws both clips from their pictures, frame by frame, by one clock.
import { Clock } from "./clock.js";
import type { Query, Sheet } from "./wire.js";

export interface Side {
  readonly sheet: Sheet;
  readonly bitmap: ImageBitmap;
}

export interface Moment {
  readonly frame: number;
  readonly frames: number;
  readonly playing: boolean;
}

/** Where a frame lies in its picture. */
export function place(sheet: Sheet, frame: number): { x: number; y: number } {
  const shown = Math.min(Math.max(frame, 0), sheet.frames - 1);
  return { x: (shown % sheet.columns) * sheet.width, y: Math.floor(shown / sheet.columns) * sheet.height };
}

export class Player {
  readonly clock = new Clock();
  private pair: readonly [Side, Side] | null = null;
  private drawn = -1;
  private frames = 1;
  private request = 0;

  constructor(
    private readonly canvases: readonly [HTMLCanvasElement, HTMLCanvasElement],
    private readonly moved: (moment: Moment) => void,
  ) {}

  /** Paints the first frames at once. The shorter clip of a pair stays on its last frame. */
  show(query: Query, left: ImageBitmap, right: ImageBitmap, now: number): void {
    this.pair = [
      { sheet: query.left, bitmap: left },
      { sheet: query.right, bitmap: right },
    ];
    this.frames = Math.max(query.left.frames, query.right.frames);
    this.clock.load(this.frames, query.fps, now);
    this.pair.forEach(({ sheet }, index) => resize(this.canvases[index], sheet));
    this.drawn = -1;
    this.draw(now);
    this.run();
  }

  /** Leaves both canvases empty. */
  clear(): void {
    this.pair = null;
    cancelAnimationFrame(this.request);
    this.request = 0;
    for (const canvas of this.canvases) canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);
  }

  /** To be called after anything that changes the clock. */
  refresh(now: number): void {
    this.drawn = -1;
    this.draw(now);
    this.run();
  }

  private run(): void {
    if (this.request !== 0 || this.pair === null) return;
    this.request = requestAnimationFrame((now) => {
      this.request = 0;
      this.draw(now);
      if (this.clock.playing) this.run();
    });
  }

  private draw(now: number): void {
    if (this.pair === null) return;
    const frame = this.clock.frame(now);
    if (frame === this.drawn) return;
    this.drawn = frame;
    this.pair.forEach((side, index) => paint(this.canvases[index], side, frame));
    this.moved({ frame, frames: this.frames, playing: this.clock.playing });
  }
}

function resize(canvas: HTMLCanvasElement | undefined, sheet: Sheet): void {
  if (canvas === undefined || (canvas.width === sheet.width && canvas.height === sheet.height)) return;
  canvas.width = sheet.width;
  canvas.height = sheet.height;
}

function paint(canvas: HTMLCanvasElement | undefined, { sheet, bitmap }: Side, frame: number): void {
  const { x, y } = place(sheet, frame);
  const { width, height } = sheet;
  canvas?.getContext("2d")?.drawImage(bitmap, x, y, width, height, 0, 0, width, height);
}
