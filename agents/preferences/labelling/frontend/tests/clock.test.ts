import assert from "node:assert/strict";
import { test } from "node:test";
import { Clock, PAUSE_SECONDS } from "../src/clock.js";

const LOOP_MS = (20 / 10 + PAUSE_SECONDS) * 1000;

function playing(speed = 1): Clock {
  const clock = new Clock();
  clock.setSpeed(speed, 0);
  clock.load(20, 10, 0);
  clock.play(0);
  return clock;
}

test("each frame lasts as long as the frame rate says, the last one 0.3 s more", () => {
  const clock = playing();
  assert.deepEqual([0, 99, 100, 1099, 1100, 1999, 2000, 2299].map((ms) => clock.frame(ms)), [0, 0, 1, 10, 11, 19, 19, 19]);
  assert.equal(clock.frame(LOOP_MS), 0);
});

test("speed divides time, the pause stays 0.3 s", () => {
  for (const speed of [0.25, 0.5, 2]) {
    const clock = playing(speed);
    assert.equal(clock.frame(1000 / speed + 1), 10);
    assert.equal(clock.frame(2000 / speed + 299), 19);
    assert.equal(clock.frame(2000 / speed + 301), 0);
  }
});

test("an hour later it is still exact: nothing adds up", () => {
  const often = playing();
  const once = playing();
  const hour = 3_600_000 + 50;
  for (let now = 0; now < hour; now += 16.7) often.frame(now);
  for (const now of [hour, hour + 730, hour + 1510]) assert.equal(often.frame(now), once.frame(now));
  assert.equal(once.frame(1566 * LOOP_MS + 1050), 10);
  assert.equal(Math.floor(once.loops(1566 * LOOP_MS + 1050)), 1566);
});

test("a pause keeps the frame and play goes on from it", () => {
  const clock = playing();
  clock.pause(550);
  assert.equal(clock.frame(9999), 5);
  clock.play(20_000);
  assert.equal(clock.frame(20_000), 5);
  assert.equal(clock.frame(20_051), 6);
});

test("a change of speed keeps the frame", () => {
  const clock = playing();
  clock.setSpeed(0.25, 1250);
  assert.equal(clock.frame(1250), 12);
  assert.equal(clock.frame(1250 + 201), 13);
  clock.setSpeed(2, 1250 + 201);
  assert.equal(clock.frame(1250 + 201 + 50), 14);
});

test("a change of speed in the pause at the end neither skips nor repeats the clip", () => {
  const clock = playing();
  clock.setSpeed(2, 2100);
  assert.equal(clock.frame(2100), 19);
  assert.equal(clock.frame(2299), 19);
  assert.equal(clock.frame(2301), 0);
});

test("steps stand still, wrap around, and are exact at every speed", () => {
  for (const speed of [0.25, 1, 2]) {
    const clock = playing(speed);
    clock.pause(0);
    const seen = Array.from({ length: 21 }, () => {
      clock.step(1, 0);
      return clock.frame(0);
    });
    assert.deepEqual(seen, [...Array.from({ length: 19 }, (_, index) => index + 1), 0, 1]);
    clock.goTo(0, 0);
    clock.step(-1, 0);
    assert.equal(clock.frame(0), 19);
    assert.equal(clock.playing, false);
  }
});

test("loops count what was seen of the pair on the screen, over restarts", () => {
  const clock = playing();
  assert.equal(clock.loops(1000), 0.5);
  assert.equal(clock.loops(LOOP_MS + 500), 1.25);
  clock.restart(LOOP_MS + 500);
  assert.equal(clock.frame(LOOP_MS + 500), 0);
  assert.equal(clock.loops(LOOP_MS + 1500), 1.75);
  clock.load(20, 10, 50_000);
  assert.equal(clock.loops(50_000), 0);
});
