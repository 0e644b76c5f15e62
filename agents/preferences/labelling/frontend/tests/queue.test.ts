import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../src/outbox.js";
import { Queue } from "../src/queue.js";
import { counter, MemoryShelf, pair } from "./fakes.js";

const WATCHED = { shown_ms: 900, loops: 1.5, speed: 2 };

function filled(...names: string[]): { queue: Queue; outbox: Outbox } {
  const outbox = new Outbox(new MemoryShelf(), "key");
  const queue = new Queue(outbox, counter("u"), 3, () => new Date(0));
  queue.add(names.map(pair), 0);
  return { queue, outbox };
}

const order = (queue: Queue): string[] => [queue.current, ...queue.waiting].map((query) => query?.query ?? "-");

test("it wants one pair for the screen and three behind it", () => {
  const { queue } = filled();
  assert.equal(queue.wanted, 4);
  queue.add(["a", "b"].map(pair), 0);
  assert.equal(queue.wanted, 2);
  assert.deepEqual(queue.held, ["a", "b"]);
  queue.add(["a", "c", "d", "d", "e"].map(pair), 0);
  assert.deepEqual(order(queue), ["a", "b", "c", "d", "e"]);
  assert.equal(queue.wanted, 0);
});

test("an answer is in the outbox before the next pair comes, with what was watched", () => {
  const { queue, outbox } = filled("a", "b");
  queue.answer("right", WATCHED);
  assert.deepEqual(outbox.entries(), [
    { kind: "answer", uuid: "u1", query: "a", choice: "right", ...WATCHED, client_time: "1970-01-01T00:00:00.000Z", tried: false },
  ]);
  assert.equal(queue.current?.query, "b");
  queue.answer("tie", WATCHED);
  assert.equal(queue.current, null);
  assert.equal(queue.answer("tie", WATCHED), null);
  assert.equal(outbox.entries().length, 2);
});

test("a pair that was answered while the lease was on its way does not come back", () => {
  const { queue, outbox } = filled("a", "b");
  const before = queue.serial;
  queue.answer("left", WATCHED);
  outbox.remove("u1"); // acknowledged meanwhile
  queue.add(["a", "b", "c"].map(pair), before);
  assert.deepEqual(order(queue), ["b", "c"]);
  // One that was skipped earlier may be offered again later.
  queue.add([pair("a")], queue.serial);
  assert.deepEqual(order(queue), ["b", "c", "a"]);
});

test("undo, any depth: the pairs come back in their order, the newest answer first", () => {
  const { queue, outbox } = filled("a", "b", "c", "d");
  for (const choice of ["left", "right", "tie"] as const) queue.answer(choice, WATCHED);
  for (const uuid of ["u1", "u2", "u3"]) outbox.remove(uuid); // the server has them
  assert.deepEqual(queue.undo(), { kind: "shown", choice: "tie" });
  assert.deepEqual(order(queue), ["c", "d"]);
  assert.deepEqual(queue.undo(), { kind: "shown", choice: "right" });
  assert.deepEqual(queue.undo(), { kind: "shown", choice: "left" });
  assert.deepEqual(order(queue), ["a", "b", "c", "d"]);
  assert.deepEqual(queue.undo(), { kind: "nothing" });
  assert.deepEqual(outbox.entries().map((entry) => (entry.kind === "retract" ? [entry.of, entry.query] : [])), [
    ["u3", "c"], ["u2", "b"], ["u1", "a"],
  ]);
});

test("an answer that never left is taken back without the server", () => {
  const { queue, outbox } = filled("a", "b");
  queue.answer("left", WATCHED);
  queue.undo();
  assert.deepEqual(outbox.entries(), []);
  assert.deepEqual(order(queue), ["a", "b"]);
});

test("one that may have arrived is retracted after it, and then answered anew", () => {
  const { queue, outbox } = filled("a", "b");
  queue.answer("left", WATCHED);
  outbox.markTried("u1");
  queue.undo();
  queue.answer("right", WATCHED);
  assert.deepEqual(outbox.entries().map((entry) => [entry.kind, entry.uuid]), [["answer", "u1"], ["retract", "u2"], ["answer", "u3"]]);
});

test("undo reaches over a reload: the server sends the pair", () => {
  const { queue, outbox } = filled("c");
  outbox.add({ kind: "retract", uuid: "r", of: "l2", query: "b", tried: true });
  queue.remember([
    { uuid: "l1", query: "a", choice: "left", time: "1" },
    { uuid: "l2", query: "b", choice: "tie", time: "2" }, // its undo is on the way already
  ]);
  assert.deepEqual(queue.undo(), { kind: "asked", choice: "left" });
  assert.equal(queue.current?.query, "c");
  queue.readd(pair("a"));
  assert.deepEqual(order(queue), ["a", "c"]);
  queue.readd(pair("a"));
  assert.deepEqual(order(queue), ["a", "c"]);
});

test("a pair that the server sends after it was answered anew is not shown again", () => {
  const { queue, outbox } = filled("a", "b");
  queue.answer("left", WATCHED);
  outbox.markTried("u1");
  queue.undo();
  queue.answer("right", WATCHED);
  queue.readd(pair("a")); // the reply to the retraction
  assert.deepEqual(order(queue), ["b"]);
});

test("what the server refuses leaves the queue", () => {
  const { queue } = filled("a", "b", "c");
  queue.drop("b");
  queue.drop("a");
  assert.deepEqual(order(queue), ["c"]);
});
