// What a side in Node does, and how the harness talks to it: see contract.py.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const TICK_MS = 20;
const PAD = "x".repeat(73);
const BASE = 100_000_000;

export const payload = (number) => ({ n: BASE + number, pad: PAD });
export const range = (first, count) => Array.from({ length: count }, (_, i) => first + i);

// Seconds on CLOCK_MONOTONIC, which all processes of the machine share.
const now = () => Number(process.hrtime.bigint()) / 1e9;
const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

class Tally {
  calls = 0;
  first = 0;
  last = 0;
  seen = null;

  saw(number) {
    this.last = now();
    if (!this.calls) this.first = this.last;
    this.calls += 1;
    this.seen?.push([number - BASE, this.last]);
  }

  tick() {
    say({ calls: this.calls, first: this.first, last: this.last });
  }
}

export async function main(packages, makeSide) {
  const [role, url] = process.argv.slice(2);
  const side = makeSide(url);
  if (role === "install") {
    await side.install();
    process.exit(0);
  }
  const lines = listen();
  await side.open();
  say({ ready: Object.fromEntries(packages.map((name) => [name, version(name)])) });
  await (role === "produce" ? produce(side, lines) : work(side, lines));
}

function version(name) {
  const file = new URL(`node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(file)).version;
}

function listen() {
  const waiting = [];
  const come = [];
  const reader = createInterface({ input: process.stdin });
  reader.on("line", (line) => {
    const message = JSON.parse(line);
    if (waiting.length) waiting.shift()(message);
    else come.push(message);
  });
  reader.on("close", () => process.exit(0)); // the harness has ended
  return () =>
    come.length ? Promise.resolve(come.shift()) : new Promise((done) => waiting.push(done));
}

async function produce(side, lines) {
  for (;;) {
    const line = await lines();
    const before = cpu();
    const answer = await deeds[line.do](side, line);
    say({ ...answer, cpu: cpu() - before });
  }
}

const deeds = {
  async many(side, { first, jobs }) {
    const began = now();
    await side.enqueueMany(first, jobs);
    return { jobs, seconds: now() - began };
  },

  async call(side, { callers, seconds }) {
    const began = now();
    let next = 0;
    const caller = async () => {
      while (now() < began + seconds) await side.enqueue(next++);
    };
    await Promise.all(range(0, callers).map(caller));
    return { jobs: next, seconds: now() - began };
  },

  async pace(side, { jobs, rate }) {
    const began = now() + 0.05;
    const times = [];
    for (let number = 0; number < jobs; number++) {
      await sleep(Math.max(0, (began + number / rate - now()) * 1000));
      const called = now();
      await side.enqueue(number);
      times.push([number, called, now()]);
    }
    return { times };
  },
};

async function work(side, lines) {
  const go = await lines();
  const before = cpu();
  const tally = new Tally();
  tally.seen = go.record ? [] : null;
  let told = -1;
  setInterval(() => {
    if (tally.calls !== told) tally.tick();
    told = tally.calls;
  }, TICK_MS);
  await side.work(tally);
  await lines();
  tally.tick();
  say({ cpu: cpu() - before, seen: tally.seen ?? [] });
}
