// BullMQ: 100 jobs at once, results and its events stream kept, as by default. The same commands as the other peers.
import { Redis } from "ioredis";
import { Queue, QueueEvents, Worker } from "bullmq";
import { renameSync, writeFileSync } from "node:fs";

const [command, url, count, file] = process.argv.slice(2);
const { hostname: host, port } = new URL(url);
const connection = new Redis({ host, port: Number(port), maxRetriesPerRequest: null });
const n = Number(count);
const payload = "x".repeat(100);
const monotonic = () => process.hrtime.bigint();

if (command === "enqueue") {
  const queue = new Queue("bench", { connection });
  await queue.waitUntilReady();
  const began = monotonic(), cpu = process.cpuUsage();
  for (let start = 0; start < n; start += 1000) {
    const jobs = Array.from({ length: Math.min(1000, n - start) }, () => ({ name: "noop", data: { payload } }));
    await queue.addBulk(jobs);
  }
  const used = process.cpuUsage(cpu);
  console.log(JSON.stringify({ s: Number(monotonic() - began) / 1e9, cpu_s: (used.user + used.system) / 1e6 }));
  await queue.close();
  connection.disconnect();
} else if (command === "work") {
  let first = 0n, used = 0, left = n;
  const cpu = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6; };
  new Worker("bench", async () => {
    if (!first) [first, used] = [monotonic(), cpu()];
    if (--left === 0) {
      writeFileSync(`${file}.part`, `${first} ${monotonic()} ${used} ${cpu()}`);
      renameSync(`${file}.part`, file);
    }
    return null;
  }, { connection, concurrency: 100 });
} else {
  const queue = new Queue("bench", { connection }), events = new QueueEvents("bench", { connection });
  await events.waitUntilReady();
  const ms = [];
  for (let i = 0; i < n; i++) {
    const began = monotonic();
    await (await queue.add("noop", { payload })).waitUntilFinished(events, 5000);
    ms.push(Number(monotonic() - began) / 1e6);
  }
  console.log(JSON.stringify({ ms }));
  await queue.close();
  await events.close();
  connection.disconnect();
}
