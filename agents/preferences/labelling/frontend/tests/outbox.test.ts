import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../src/outbox.js";
import type { Answer } from "../src/outbox.js";
import { MemoryShelf } from "./fakes.js";

const answer = (uuid: string, query: string): Answer => ({
  kind: "answer", uuid, query, choice: "left", shown_ms: 900, loops: 1, speed: 1, client_time: "2026-01-01T00:00:00Z", tried: false,
});

test("entries survive a reload, in order", () => {
  const shelf = new MemoryShelf();
  new Outbox(shelf, "key").add(answer("a", "1"));
  new Outbox(shelf, "key").add(answer("b", "2"));
  const reloaded = new Outbox(shelf, "key");
  assert.deepEqual(reloaded.entries().map((entry) => entry.uuid), ["a", "b"]);
  reloaded.markTried("a");
  assert.equal(new Outbox(shelf, "key").find("a")?.tried, true);
  assert.equal(reloaded.remove("a"), true);
  assert.equal(reloaded.remove("a"), false);
  reloaded.remove("b");
  assert.equal(shelf.items.size, 0);
});

test("people who share a browser do not send each other's answers", () => {
  const shelf = new MemoryShelf();
  new Outbox(shelf, "anna").add(answer("a", "1"));
  assert.deepEqual(new Outbox(shelf, "ben").entries(), []);
});

test("a query is answered until its undo follows", () => {
  const outbox = new Outbox(new MemoryShelf(), "key");
  outbox.add(answer("a", "1"));
  outbox.add(answer("b", "2"));
  outbox.add({ kind: "retract", uuid: "c", of: "a", query: "1", tried: false });
  assert.deepEqual([...outbox.answered()], ["2"]);
  outbox.add(answer("d", "1"));
  assert.deepEqual([...outbox.answered()].sort(), ["1", "2"]);
});

test("a browser that keeps nothing still holds the answers while the page is open", () => {
  const shelf = new MemoryShelf();
  const outbox = new Outbox(shelf, "key");
  outbox.add(answer("a", "1"));
  shelf.full = true;
  outbox.add(answer("b", "2"));
  assert.equal(outbox.kept, false);
  assert.deepEqual(outbox.entries().map((entry) => entry.uuid), ["a", "b"]);
});

test("what is damaged is put aside, not sent and not lost", () => {
  for (const damaged of ["{", "7", '[{"kind":"answer"}]', '[{"kind":"evil","uuid":"a","query":"1"}]']) {
    const shelf = new MemoryShelf();
    shelf.items.set("key", damaged);
    const outbox = new Outbox(shelf, "key");
    assert.deepEqual(outbox.entries(), []);
    assert.equal(shelf.items.get("key:damaged"), damaged);
    outbox.add(answer("a", "1"));
    assert.equal(outbox.entries().length, 1);
  }
});
