// pg-boss: batches of 1,000 without a pause while they are full, and NOTIFY.
import { PgBoss } from "pg-boss";
import { main, payload, range } from "./contract.mjs";

const CHUNK = 10_000;

main(["pg-boss", "pg"], (connectionString) => ({
  async open() {
    this.boss = new PgBoss({ connectionString, max: 10, useListenNotify: true });
    this.boss.on("error", (error) => console.error(error));
    await this.boss.start();
  },

  async install() {
    await this.open();
    await this.boss.createQueue("noop", { notify: true });
  },

  enqueue(number) {
    return this.boss.send("noop", payload(number));
  },

  async enqueueMany(first, jobs) {
    for (let done = 0; done < jobs; done += CHUNK) {
      const numbers = range(first + done, Math.min(CHUNK, jobs - done));
      await this.boss.insert("noop", numbers.map((n) => ({ data: payload(n) })));
    }
  },

  async work(tally) {
    const options = {
      batchSize: 1000,
      burstWhenBatchFull: true,
      localConcurrency: 2, // one completes its batch while the other has the next
      pollingIntervalSeconds: 0.5,
    };
    await this.boss.work("noop", options, async (jobs) => {
      for (const { data } of jobs) tally.saw(data.n);
    });
  },
}));
