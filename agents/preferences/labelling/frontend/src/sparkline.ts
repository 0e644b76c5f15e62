// What the reward model gives each step of a clip, with a mark at the step on the screen.

export interface Scale {
  readonly low: number;
  readonly high: number;
}

/** One scale for both clips: otherwise their curves could not be compared. */
export function scaleOf(left: readonly number[], right: readonly number[]): Scale {
  const all = [...left, ...right];
  if (all.length === 0) return { low: 0, high: 1 };
  const low = Math.min(...all);
  const high = Math.max(...all);
  return high - low > 1e-9 ? { low, high } : { low: low - 0.5, high: high + 0.5 };
}

export function total(reward: readonly number[]): number {
  return reward.reduce((sum, value) => sum + value, 0);
}

export function drawSparkline(canvas: HTMLCanvasElement, reward: readonly number[], scale: Scale, frame: number): void {
  const context = canvas.getContext("2d");
  if (context === null) return;
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.clearRect(0, 0, width, height);
  if (reward.length === 0) return;
  const edge = 4 * ratio;
  const x = (step: number): number => edge + ((width - 2 * edge) * step) / Math.max(reward.length - 1, 1);
  const y = (value: number): number =>
    height - edge - ((height - 2 * edge) * (value - scale.low)) / (scale.high - scale.low);
  const colour = getComputedStyle(canvas).color;
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = 1.75 * ratio;
  context.lineJoin = "round";
  context.beginPath();
  reward.forEach((value, step) => context.lineTo(x(step), y(value)));
  context.stroke();
  const at = Math.min(frame, reward.length - 1);
  context.globalAlpha = 0.35;
  context.fillRect(x(at) - ratio / 2, 0, ratio, height);
  context.globalAlpha = 1;
  context.beginPath();
  context.arc(x(at), y(reward[at] ?? scale.low), 3.5 * ratio, 0, 2 * Math.PI);
  context.fill();
}
