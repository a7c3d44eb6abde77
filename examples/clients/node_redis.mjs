// node-redis with replicad, in both versions of the protocol: every answer is checked.
import assert from "node:assert/strict";
import { createClient } from "redis";

const port = Number(process.env.REPLICAD_PORT ?? "7001");

async function connect(node, RESP) {
  const client = createClient({ url: `redis://127.0.0.1:${port + node - 1}`, RESP });
  client.on("error", (error) => {
    throw error;
  });
  await client.connect();
  return client;
}

for (const protocol of [2, 3]) {
  const client = await connect(1, protocol);
  const second = await connect(2, protocol);
  const third = await connect(3, protocol);

  // Values.
  assert.equal(await client.ping(), "PONG");
  for await (const keys of client.scanIterator({ MATCH: "nr:*" })) {
    if (keys.length > 0) await client.del(keys);
  }
  assert.equal(await client.set("nr:sky", "blue"), "OK");
  assert.equal(await client.get("nr:sky"), "blue");
  assert.equal(await second.get("nr:sky"), "blue");
  assert.equal(await client.mSet({ "nr:a": "1", "nr:b": "2" }), "OK");
  assert.deepEqual(await client.mGet(["nr:a", "nr:b", "nr:none"]), ["1", "2", null]);
  assert.equal(await client.exists(["nr:a", "nr:none"]), 1);

  // Counters and sets.
  assert.equal(await client.incr("nr:hits"), 1);
  assert.equal(await client.incrBy("nr:hits", 41), 42);
  assert.equal(await client.decr("nr:hits"), 41);
  assert.equal(await client.sAdd("nr:tags", ["x", "y"]), 2);
  assert.equal(await client.sRem("nr:tags", "x"), 1);
  assert.deepEqual([...(await client.sMembers("nr:tags"))], ["y"]);
  assert.equal(Boolean(await client.sIsMember("nr:tags", "y")), true);
  assert.equal(await client.type("nr:tags"), "set");

  // Commands that are sent together go out as a pipeline.
  const sent = [];
  for (let n = 0; n < 100; n += 1) {
    sent.push(client.set(`nr:row${n}`, String(n)), client.get(`nr:row${n}`));
  }
  (await Promise.all(sent)).forEach((answer, n) => {
    assert.equal(answer, n % 2 === 0 ? "OK" : String((n - 1) / 2));
  });
  const rows = new Set();
  for await (const keys of client.scanIterator({ MATCH: "nr:row*", COUNT: 7 })) {
    [keys].flat().forEach((key) => rows.add(key));
  }
  assert.equal(rows.size, 100);

  // What is refused says why.
  await assert.rejects(client.rename("nr:a", "nr:c"), /RENAME is not supported/);
  await assert.rejects(client.hSet("nr:h", "field", "1"), /HSET is not supported/);
  await assert.rejects(client.expire("nr:a", 10), /EXPIRE is not supported/);

  // What Redis has no words for.
  assert.equal(await second.sendCommand(["R.LEVEL", "ONE"]), "OK");
  assert.equal(await second.sendCommand(["R.SESSION", "ON"]), "OK");
  assert.equal(await second.sendCommand(["R.PUT", "nr:mine", "v1"]), 1);
  const token = await second.sendCommand(["R.SESSION", "TOKEN"]);
  assert.equal(await third.sendCommand(["R.LEVEL", "ONE"]), "OK");
  assert.equal(await third.sendCommand(["R.SESSION", "TOKEN", token]), "OK");
  assert.equal(await third.get("nr:mine"), "v1");
  const read = await third.sendCommand(["R.GET", "nr:mine"]);
  const [values, context] = Array.isArray(read) ? [read[1], read[5]] : [read.values, read.context];
  assert.deepEqual(values, ["v1"]);
  assert.equal(await third.sendCommand(["R.SET", "nr:mine", "v2", "CONTEXT", context]), 1);
  assert.equal(await client.get("nr:mine"), "v2");

  await Promise.all([client, second, third].map((connection) => connection.close()));
}
console.log("node-redis: all answers are right");
