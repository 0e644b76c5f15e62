import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, troubleOf } from "../src/api.js";
import { Outbox } from "../src/outbox.js";
import type { Entry } from "../src/outbox.js";
import { Queue } from "../src/queue.js";
import { Sender } from "../src/sender.js";
import { counter, MemoryShelf, pair } from "./fakes.js";

const WATCHED = { shown_ms: 900, loops: 1, speed: 1 };

function world(reply: (entry: Entry, attempt: number) => unknown) {
  const outbox = new Outbox(new MemoryShelf(), "key");
  const queue = new Queue(outbox, counter("u"), 3);
  queue.add(["a", "b", "c"].map(pair), 0);
  const log: string[] = [];
  const waits: number[] = [];
  let attempt = 0;
  const sender = new Sender(
    outbox,
    async (entry) => {
      assert.equal(outbox.find(entry.uuid)?.tried, true, "marked before it leaves");
      log.push(`${entry.kind} ${entry.uuid}`);
      const thrown = reply(entry, ++attempt);
      if (thrown !== undefined) throw thrown;
      return null;
    },
    {
      sent: (entry) => log.push(`sent ${entry.uuid}`),
      refused: (entry, error) => log.push(`refused ${entry.uuid}: ${error.message}`),
      lineChanged: (line) => log.push(line),
    },
    async (seconds) => void waits.push(seconds),
  );
  return { outbox, queue, sender, log, waits };
}

test("answers go one by one, in order, and leave the outbox when they are acknowledged", async () => {
  const { outbox, queue, sender, log } = world(() => undefined);
  queue.answer("left", WATCHED);
  queue.answer("right", WATCHED);
  await sender.flush();
  assert.deepEqual(log, ["answer u1", "sent u1", "answer u2", "sent u2"]);
  assert.deepEqual(outbox.entries(), []);
});

test("while the server is away the same answer is sent again, with its own uuid, ever more rarely", async () => {
  const { queue, sender, log, waits } = world((_, attempt) => (attempt < 9 ? new ApiError("away", "down") : undefined));
  queue.answer("left", WATCHED);
  await sender.flush();
  assert.deepEqual(waits, [0.5, 1, 2, 4, 8, 15, 15, 15]);
  assert.deepEqual([log[0], log[1], log.at(-2), log.at(-1)], ["answer u1", "away", "open", "sent u1"]);
  assert.equal(new Set(log.filter((line) => line.startsWith("answer"))).size, 1);
});

test("a server that asks for patience gets it", async () => {
  const { queue, sender, waits } = world((_, attempt) => (attempt === 1 ? new ApiError("away", "busy", 429, 7) : undefined));
  queue.answer("left", WATCHED);
  await sender.flush();
  assert.deepEqual(waits, [7]);
});

test("a refused answer is told and does not hold up the next", async () => {
  const { outbox, queue, sender, log } = world((entry) => (entry.uuid === "u1" ? new ApiError("refused", "answered twice", 409) : undefined));
  queue.answer("left", WATCHED);
  queue.answer("right", WATCHED);
  await sender.flush();
  assert.deepEqual(log, ["answer u1", "refused u1: answered twice", "answer u2", "sent u2"]);
  assert.deepEqual(outbox.entries(), []);
});

test("a link that has expired stops sending and keeps the answers", async () => {
  const { outbox, queue, sender, log } = world(() => new ApiError("expired", "revoked", 401));
  queue.answer("left", WATCHED);
  await sender.flush();
  assert.deepEqual(log, ["answer u1", "expired"]);
  assert.equal(outbox.entries().length, 1);
});

test("a tab that was left sends nothing more; the outbox is there for the other", async () => {
  const { outbox, queue, sender, log } = world(() => undefined);
  sender.stop();
  queue.answer("left", WATCHED);
  await sender.flush();
  assert.deepEqual(log, []);
  assert.equal(outbox.entries().length, 1);
  sender.resume();
  await sender.flush();
  assert.deepEqual(outbox.entries(), []);
});

test("an error of our own is no reason to lose an answer", async () => {
  const { outbox, queue, sender, waits } = world((_, attempt) => (attempt === 1 ? new TypeError("bug") : undefined));
  queue.answer("left", WATCHED);
  await sender.flush();
  assert.deepEqual([waits, outbox.entries()], [[0.5], []]);
});

test("what a status means for an answer", () => {
  const meaning = { 401: "expired", 403: "refused", 404: "refused", 409: "refused", 413: "refused", 422: "refused" };
  for (const [status, trouble] of Object.entries(meaning)) assert.equal(troubleOf(Number(status)), trouble);
  for (const status of [408, 429, 500, 502, 503]) assert.equal(troubleOf(status), "away");
});
