import assert from "node:assert/strict";
import { test } from "node:test";
import { place } from "../src/player.js";
import { scaleOf, total } from "../src/sparkline.js";
import { uuid4 } from "../src/uuid.js";
import { readHistory, readLease, readStats, WireError } from "../src/wire.js";
import { BREAK_AFTER_MINUTES, Stint } from "../src/breaks.js";

const sheet = { media: "/media/0a1b", frames: 30, columns: 6, width: 64, height: 48, reward: [0.5, -1] };
const query = { query: "q1", left: sheet, right: sheet, fps: 20, why: { text: "Drawn at random." }, expires_in_s: 120 };

test("a lease is read, and refused where a page would go wrong with it", () => {
  const { queries, wait } = readLease({ queries: [query], wait: { reason: "none", text: "" } });
  assert.deepEqual(queries[0]?.left, sheet);
  assert.deepEqual([queries[0]?.why, queries[0]?.expiresIn, wait.reason], ["Drawn at random.", 120, "none"]);
  for (const wrong of [{ frames: 0 }, { columns: 1.5 }, { width: "64" }, { media: "https://elsewhere.example/x" }, { media: "/media/../x" }]) {
    assert.throws(() => readLease({ queries: [{ ...query, left: { ...sheet, ...wrong } }], wait: {} }), WireError);
  }
});

test("figures that are not there yet are null", () => {
  const stats = readStats({ given: 3, target: 10, median_seconds: null, accuracy: null, state: "active", video: null });
  assert.deepEqual([stats.medianSeconds, stats.accuracy, stats.step, stats.video, stats.training], [null, null, null, null, ""]);
});

test("history gives the answers that stand, oldest first", () => {
  const label = (uuid: string, server_time: string, retracted = false) => ({ uuid, query: "q", choice: "tie", server_time, retracted });
  const labels = [label("b", "2026-01-02"), label("c", "2026-01-03", true), label("a", "2026-01-01")];
  assert.deepEqual(readHistory({ labels }).map((one) => one.uuid), ["a", "b"]);
});

test("frames lie row by row", () => {
  assert.deepEqual([0, 5, 6, 29, 35].map((frame) => place(sheet, frame)), [
    { x: 0, y: 0 }, { x: 320, y: 0 }, { x: 0, y: 48 }, { x: 320, y: 192 }, { x: 320, y: 192 },
  ]);
});

test("both curves share one scale", () => {
  assert.deepEqual(scaleOf([0, 2], [-3, 1]), { low: -3, high: 2 });
  assert.deepEqual(scaleOf([1, 1], [1]), { low: 0.5, high: 1.5 });
  assert.equal(total([1, 2, -4]), -1);
});

test("uuids are of version 4 and differ", () => {
  const made = new Set(Array.from({ length: 1000 }, () => uuid4()));
  assert.equal(made.size, 1000);
  for (const uuid of made) assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("a break is hinted at once a stint, and a pause begins a new one", () => {
  const stint = new Stint();
  const minute = 60_000;
  const hints = Array.from({ length: 60 }, (_, index) => stint.answered(index * minute)).map((hint, index) => (hint ? index : -1));
  assert.deepEqual(hints.filter((index) => index >= 0), [BREAK_AFTER_MINUTES]);
  assert.equal(stint.answered(70 * minute), false);
  assert.equal(stint.minutes(71 * minute), 1);
});
