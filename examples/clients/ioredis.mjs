// ioredis with replicad: every answer is checked.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import Redis from "ioredis";

const port = Number(process.env.REPLICAD_PORT ?? "7001");
const connect = (node = 1) => new Redis(port + node - 1, "127.0.0.1");
const client = connect();
const second = connect(2);
const third = connect(3);

// Values.
assert.equal(await client.ping(), "PONG");
for await (const keys of client.scanStream({ match: "io:*" })) {
  if (keys.length > 0) await client.del(...keys);
}
assert.equal(await client.set("io:sky", "blue"), "OK");
assert.equal(await client.get("io:sky"), "blue");
assert.equal(await second.get("io:sky"), "blue");
assert.equal(await client.mset("io:a", "1", "io:b", "2"), "OK");
assert.deepEqual(await client.mget("io:a", "io:b", "io:none"), ["1", "2", null]);
assert.equal(await client.exists("io:a", "io:none"), 1);

// Counters and sets.
assert.equal(await client.incr("io:hits"), 1);
assert.equal(await client.incrby("io:hits", 41), 42);
assert.equal(await client.decr("io:hits"), 41);
assert.equal(await client.sadd("io:tags", "x", "y"), 2);
assert.equal(await client.srem("io:tags", "x"), 1);
assert.deepEqual(await client.smembers("io:tags"), ["y"]);
assert.deepEqual(await client.smismember("io:tags", "x", "y"), [0, 1]);
assert.equal(await client.type("io:tags"), "set");

// A pipeline.
const pipeline = client.pipeline();
for (let n = 0; n < 100; n += 1) pipeline.set(`io:row${n}`, n).get(`io:row${n}`);
const answers = await pipeline.exec();
answers.forEach(([error, answer], n) => {
  assert.equal(error, null);
  assert.equal(answer, n % 2 === 0 ? "OK" : String((n - 1) / 2));
});
const rows = new Set();
for await (const keys of client.scanStream({ match: "io:row*", count: 7 })) {
  keys.forEach((key) => rows.add(key));
}
assert.equal(rows.size, 100);

// What is refused says why.
await assert.rejects(client.rename("io:a", "io:c"), /RENAME is not supported/);
await assert.rejects(client.set("io:a", "3", "NX"), /SET NX is not supported/);
await assert.rejects(client.expire("io:a", 10), /EXPIRE is not supported/);

// What Redis has no words for.
assert.equal(await second.call("R.LEVEL", "ONE"), "OK");
assert.equal(await second.call("R.SESSION", "ON"), "OK");
assert.equal(await second.call("R.PUT", "io:mine", "v1"), 1);
const token = await second.call("R.SESSION", "TOKEN");
assert.equal(await third.call("R.LEVEL", "ONE"), "OK");
assert.equal(await third.call("R.SESSION", "TOKEN", token), "OK");
assert.equal(await third.get("io:mine"), "v1");
const [, values, , , , context] = await third.call("R.GET", "io:mine");
assert.deepEqual(values, ["v1"]);
assert.equal(await third.call("R.SET", "io:mine", "v2", "CONTEXT", context), 1);
assert.equal(await client.get("io:mine"), "v2");

await Promise.all([client, second, third].map((connection) => connection.quit()));
const { version } = createRequire(import.meta.url)("ioredis/package.json");
console.log(`ioredis ${version}: all answers are right`);
