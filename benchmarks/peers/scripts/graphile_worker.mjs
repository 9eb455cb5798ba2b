// graphile-worker with the preset of its published performance test.
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import { main, payload, range } from "./contract.mjs";

const CHUNK = 10_000;
const logger = new Logger(() => () => undefined);

main(["graphile-worker", "pg"], (connectionString) => ({
  async open() {
    this.utils = await makeWorkerUtils({ connectionString, maxPoolSize: 10, logger });
  },

  async install() {
    await this.open();
    await this.utils.migrate();
  },

  enqueue(number) {
    return this.utils.addJob("noop", payload(number));
  },

  async enqueueMany(first, jobs) {
    for (let done = 0; done < jobs; done += CHUNK) {
      const numbers = range(first + done, Math.min(CHUNK, jobs - done));
      await this.utils.addJobs(numbers.map((n) => ({ identifier: "noop", payload: payload(n) })));
    }
  },

  async work(tally) {
    await run({
      preset: {
        worker: {
          connectionString,
          concurrentJobs: 24,
          maxPoolSize: 25,
          localQueue: { size: 500 },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
          logger,
        },
      },
      noHandleSignals: true,
      taskList: { noop: ({ n }) => tally.saw(n) },
    });
  },
}));
