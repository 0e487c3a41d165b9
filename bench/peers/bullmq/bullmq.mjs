// Measures BullMQ: bullmq.mjs TASKS PORT, on an empty Redis. One process, as its users run it: Node has one thread.
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

const tasks = Number(process.argv[2]);
const connection = { host: "127.0.0.1", port: Number(process.argv[3]) };
const producers = 50;
const slots = 200;
const bulk = 1000;
const redis = new Redis(connection);
const queue = new Queue("bench", {
  connection,
  defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
});

const now = () => performance.timeOrigin + performance.now();
const payload = (i, stamp) => ({ id: i, t: stamp, to: `user${i}@example.com`, template: "welcome", pad: "xxxxx" });
const sleep = (milliseconds) => new Promise((wake) => setTimeout(wake, Math.max(0, milliseconds)));

function print(workload, count, milliseconds, latencies) {
  const sorted = Float64Array.from(latencies ?? []).sort();
  const at = (share) => (sorted.length ? sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)] : null);
  console.log(
    JSON.stringify({
      workload,
      store: "BullMQ (Redis)",
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

/** What Redis uses, in bytes. */
async function memory() {
  const text = await redis.info("memory");
  return Number(/^used_memory:(\d+)/m.exec(text)[1]);
}

/** Enqueues `count` tasks one by one, with so many calls under way. */
async function put(count, over) {
  let next = 0;
  const produce = async () => {
    while (next < count) await queue.add("noop", payload(next++, now()));
  };
  await Promise.all(Array.from({ length: over }, produce));
}

/** Enqueues `count` tasks in bulk; `due` says when each is due, and may be left out. */
async function putBulk(count, due) {
  for (let i = 0; i < count; i += bulk) {
    const jobs = [];
    for (let n = i; n < Math.min(i + bulk, count); ++n) {
      const at = due ? due(n) : now();
      jobs.push({ name: "noop", data: payload(n, at), opts: due ? { delay: Math.max(0, Math.ceil(at - now())) } : {} });
    }
    await queue.addBulk(jobs);
  }
}

/** Handles tasks until `count` have been; answers how long that took from `from` on. */
async function work(count, from, handle, meanwhile) {
  let done = 0;
  let finished;
  const all = new Promise((resolve) => (finished = resolve));
  const worker = new Worker("bench", async (job) => handle(job.data), { connection, concurrency: slots });
  worker.on("completed", () => {
    if (++done === count) finished();
  });
  if (meanwhile) await meanwhile(worker);
  await all;
  const took = now() - from;
  await worker.close();
  return took;
}

async function due(workload, count, over) {
  const from = now() + 2000 + count * 0.1;
  await putBulk(count, (n) => from + (over * n) / count);
  const late = [];
  const took = await work(count, from, (data) => late.push(now() - data.t));
  print(workload, count, took, late);
}

await queue.waitUntilReady();
for (const [workload, over] of [
  ["enqueue-one", 1],
  ["enqueue-threads", producers],
]) {
  const before = await memory();
  const start = now();
  await put(tasks, over);
  print(workload, tasks, now() - start);
  if (over === 1) {
    const value = ((await memory()) - before) / tasks;
    console.log(JSON.stringify({ workload: "a pending task, BullMQ (Redis)", value, unit: "bytes" }));
  }
  await queue.obliterate({ force: true });
}
const start = now();
await putBulk(tasks);
print("enqueue-bulk", tasks, now() - start);
print("drain", tasks, await work(tasks, now(), () => {}));

const picked = [];
const began = now();
const took = await work(1000, began, (data) => picked.push(now() - data.t), async (worker) => {
  await worker.waitUntilReady();
  for (let i = 0; i < 1000; ++i) {
    await sleep(began + i * 10 - now());
    await queue.add("noop", payload(i, now()));
  }
});
print("pickup", 1000, took, picked);
await due("due", tasks, 0);
await due("spread", Math.floor(tasks / 5), 10_000);
await queue.close();
await redis.quit();
