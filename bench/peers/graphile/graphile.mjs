// Measures graphile-worker: graphile.mjs TASKS URL, on an empty database. One process, as its users run it. The drain is
// of its two ways: as it is by default, and with its local queue and completions in batches.
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

const tasks = Number(process.argv[2]);
const slots = 24;
const bulk = 1000;
const pool = new pg.Pool({ connectionString: process.argv[3], max: 40 });
const logger = new Logger(() => () => {});
const utils = await makeWorkerUtils({ pgPool: pool, logger });
await utils.migrate();

const now = () => performance.timeOrigin + performance.now();
const payload = (i, stamp) => ({ id: i, t: stamp, to: `user${i}@example.com`, template: "welcome", pad: "xxxxx" });
const sleep = (milliseconds) => new Promise((wake) => setTimeout(wake, Math.max(0, milliseconds)));
const clear = () => pool.query("TRUNCATE graphile_worker._private_jobs");

function print(workload, count, milliseconds, latencies, how = "") {
  const sorted = Float64Array.from(latencies ?? []).sort();
  const at = (share) => (sorted.length ? sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)] : null);
  console.log(
    JSON.stringify({
      workload,
      store: `graphile-worker (PostgreSQL${how})`,
      tasks: count,
      seconds: milliseconds / 1e3,
      rate: (count / milliseconds) * 1e3,
      p50_ms: at(0.5),
      p95_ms: at(0.95),
      p99_ms: at(0.99),
      max_ms: at(1),
    }),
  );
}

/** Enqueues `count` tasks one by one, with so many calls under way. */
async function put(count, over) {
  let next = 0;
  const produce = async () => {
    while (next < count) await utils.addJob("noop", payload(next++, now()));
  };
  await Promise.all(Array.from({ length: over }, produce));
}

/** Enqueues `count` tasks in bulk; `due` says when each is due, and may be left out. */
async function putBulk(count, due) {
  for (let i = 0; i < count; i += bulk) {
    const jobs = [];
    for (let n = i; n < Math.min(i + bulk, count); ++n) {
      const at = due ? due(n) : now();
      jobs.push({ identifier: "noop", payload: payload(n, at), ...(due ? { runAt: new Date(at) } : {}) });
    }
    await utils.addJobs(jobs);
  }
}

/** Handles tasks until `count` have been; answers how long that took from `from()` on. */
async function work(count, from, handle, tuned, meanwhile) {
  let done = 0;
  let finished;
  const all = new Promise((resolve) => (finished = resolve));
  const worker = { concurrentJobs: slots, pollInterval: 2000 };
  if (tuned) Object.assign(worker, { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 });
  const runner = await run({
    pgPool: pool,
    logger,
    noHandleSignals: true,
    preset: { worker },
    taskList: {
      noop: async (job) => {
        handle(job);
        if (++done === count) finished();
      },
    },
  });
  if (meanwhile) await meanwhile();
  await all;
  const took = now() - from();
  await runner.stop();
  await clear();
  return took;
}

let start = now();
await put(tasks / 10, 1);
print("enqueue-one", tasks / 10, now() - start);
await clear();
start = now();
await put(tasks / 5, 32);
print("enqueue-threads", tasks / 5, now() - start);
await clear();
start = now();
await putBulk(tasks);
print("enqueue-bulk", tasks, now() - start);
await pool.query("VACUUM ANALYZE graphile_worker._private_jobs");
start = now();
print("drain", tasks, await work(tasks, () => start, () => {}, true), null, ", local queue");
await putBulk(tasks / 5);
await pool.query("VACUUM ANALYZE graphile_worker._private_jobs");
start = now();
print("drain", tasks / 5, await work(tasks / 5, () => start, () => {}, false));

const picked = [];
const took = await work(1000, () => start, (job) => picked.push(now() - job.t), false, async () => {
  await sleep(1500);
  start = now();
  for (let i = 0; i < 1000; ++i) {
    await sleep(start + i * 10 - now());
    await utils.addJob("noop", payload(i, now()));
  }
});
print("pickup", 1000, took, picked);

for (const [workload, count, over] of [
  ["due", tasks, 0],
  ["spread", Math.floor(tasks / 5), 10_000],
]) {
  const from = now() + 2000 + count * 0.1;
  const late = [];
  await putBulk(count, (n) => from + (over * n) / count);
  print(workload, count, await work(count, () => from, (job) => late.push(now() - job.t), true), late, ", local queue");
}
await utils.release();
await pool.end();
