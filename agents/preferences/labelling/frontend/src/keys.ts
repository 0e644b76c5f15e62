// Which key means what. Everything that a key does can be done with a button too.
import type { Choice } from "./wire.js";

export type Action =
  | { readonly kind: "choose"; readonly choice: Choice }
  | { readonly kind: "undo" | "play" | "restart" | "help" | "opinion" }
  | { readonly kind: "step"; readonly by: 1 | -1 }
  | { readonly kind: "speed"; readonly speed: number };

export interface Press {
  readonly key: string;
  readonly code: string;
  readonly repeat: boolean;
  readonly ctrlKey: boolean;
  readonly altKey: boolean;
  readonly metaKey: boolean;
}

/** By name as in `data-action` of the page's buttons. */
export const ACTIONS: Readonly<Record<string, Action>> = {
  left: { kind: "choose", choice: "left" },
  right: { kind: "choose", choice: "right" },
  tie: { kind: "choose", choice: "tie" },
  cannot_tell: { kind: "choose", choice: "cannot_tell" },
  skip: { kind: "choose", choice: "skip" },
  broken: { kind: "choose", choice: "broken" },
  undo: { kind: "undo" },
  play: { kind: "play" },
  restart: { kind: "restart" },
  help: { kind: "help" },
  opinion: { kind: "opinion" },
  back: { kind: "step", by: -1 },
  forward: { kind: "step", by: 1 },
  "speed-0.25": { kind: "speed", speed: 0.25 },
  "speed-0.5": { kind: "speed", speed: 0.5 },
  "speed-1": { kind: "speed", speed: 1 },
  "speed-2": { kind: "speed", speed: 2 },
};

const KEYS: Readonly<Record<string, string>> = {
  arrowleft: "left",
  arrowright: "right",
  arrowup: "tie",
  arrowdown: "cannot_tell",
  s: "skip",
  f: "broken",
  u: "undo",
  backspace: "undo",
  " ": "play",
  r: "restart",
  "?": "help",
  m: "opinion",
  ",": "back",
  ".": "forward",
  "1": "speed-0.25",
  "2": "speed-0.5",
  "3": "speed-1",
  "4": "speed-2",
};

/** Where a key's own letter says nothing (Cyrillic, digits behind Shift), its place on the keyboard does. */
const PLACES: Readonly<Record<string, string>> = {
  KeyS: "skip",
  KeyF: "broken",
  KeyU: "undo",
  KeyR: "restart",
  KeyM: "opinion",
  Digit1: "speed-0.25",
  Digit2: "speed-0.5",
  Digit3: "speed-1",
  Digit4: "speed-2",
};

/** What a key press asks for; undefined: nothing of ours, leave it to the browser. */
export function actionOf(press: Press): Action | undefined {
  if (press.ctrlKey || press.altKey || press.metaKey) return undefined;
  const latin = /^[a-z]$/i.test(press.key);
  const name = KEYS[press.key.toLowerCase()] ?? (latin ? undefined : PLACES[press.code]);
  return name === undefined ? undefined : ACTIONS[name];
}

/** Held keys only step through frames: an answer must be pressed anew for each pair. */
export function countsWhenHeld(action: Action): boolean {
  return action.kind === "step";
}
