import assert from "node:assert/strict";
import { test } from "node:test";
import { ACTIONS, actionOf, countsWhenHeld } from "../src/keys.js";
import type { Press } from "../src/keys.js";

const press = (key: string, more: Partial<Press> = {}): Press => ({
  key,
  code: "",
  repeat: false,
  ctrlKey: false,
  altKey: false,
  metaKey: false,
  ...more,
});

test("the keys are those of the guide", () => {
  const keys = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "s", "S", "u", "Backspace", "f", " ", "r", "?", "1", "2", "3", "4", ",", "."];
  const names = ["left", "right", "tie", "cannot_tell", "skip", "skip", "undo", "undo", "broken", "play", "restart", "help"];
  names.push("speed-0.25", "speed-0.5", "speed-1", "speed-2", "back", "forward");
  assert.deepEqual(keys.map((key) => actionOf(press(key))), names.map((name) => ACTIONS[name]));
});

test("the browser's own keys stay its own", () => {
  for (const modifier of ["ctrlKey", "altKey", "metaKey"] as const) {
    assert.equal(actionOf(press("r", { [modifier]: true })), undefined);
  }
  for (const key of ["Tab", "Enter", "Escape", "F5", "a"]) assert.equal(actionOf(press(key)), undefined);
});

test("a keyboard of another script answers by the place of its keys", () => {
  assert.deepEqual(actionOf(press("ы", { code: "KeyS" })), ACTIONS["skip"]);
  assert.deepEqual(actionOf(press("&", { code: "Digit1" })), ACTIONS["speed-0.25"]);
  // On Dvorak the key at the place of S types o: what it says counts.
  assert.equal(actionOf(press("o", { code: "KeyS" })), undefined);
});

test("a held key only steps through frames", () => {
  const held = Object.keys(ACTIONS).filter((name) => countsWhenHeld(ACTIONS[name] ?? { kind: "help" }));
  assert.deepEqual(held, ["back", "forward"]);
});
