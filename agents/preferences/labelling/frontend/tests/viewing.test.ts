import assert from "node:assert/strict";
import { test } from "node:test";
import { Viewing } from "../src/viewing.js";

test("only time with both clips in view counts", () => {
  const viewing = new Viewing();
  viewing.begin(true, 0);
  assert.equal(viewing.milliseconds(1000), 0);
  viewing.setShown(true, 1000);
  viewing.setShown(false, 1300);
  viewing.setShown(true, 5000);
  assert.equal(viewing.milliseconds(5100), 400);
});

test("a still first frame is not looking at a clip", () => {
  const viewing = new Viewing();
  viewing.setShown(true, 0);
  viewing.begin(false, 0);
  assert.equal(viewing.milliseconds(3000), 0);
  viewing.setMoved(3000);
  assert.equal(viewing.milliseconds(3500), 500);
});

test("the next pair starts from nothing, in view as the one before it was", () => {
  const viewing = new Viewing();
  viewing.setShown(true, 0);
  viewing.begin(true, 0);
  viewing.begin(true, 800);
  assert.equal(viewing.milliseconds(1000), 200);
});
