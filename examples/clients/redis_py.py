"""redis-py with replicad: every answer is checked."""

import os

import redis

port = int(os.environ.get("REPLICAD_PORT", "7001"))


def connect(node=1, **options):
    return redis.Redis(port=port + node - 1, decode_responses=True, **options)


def pairs(answer):
    """A map, which RESP2 has as a list."""
    if isinstance(answer, dict):
        return answer
    return dict(zip(answer[::2], answer[1::2]))


for protocol in (2, 3):
    client = connect(protocol=protocol)
    assert client.ping()
    for key in client.scan_iter("py:*"):
        client.delete(key)

    # Values.
    assert client.set("py:sky", "blue")
    assert client.get("py:sky") == "blue"
    assert client.mset({"py:a": "1", "py:b": "2"})
    assert client.mget("py:a", "py:b", "py:none") == ["1", "2", None]
    assert client.exists("py:a", "py:none") == 1
    assert connect(2, protocol=protocol).get("py:sky") == "blue", "another node has it too"

    # Counters and sets.
    assert client.incr("py:hits") == 1
    assert client.incrby("py:hits", 41) == 42
    assert client.decr("py:hits") == 41
    assert client.get("py:hits") == "41"
    assert client.sadd("py:tags", "x", "y") == 2
    assert client.srem("py:tags", "x") == 1
    assert client.smembers("py:tags") == {"y"}
    assert client.sismember("py:tags", "y")
    assert client.scard("py:tags") == 1
    assert client.type("py:tags") == "set"

    # A pipeline, without MULTI.
    with client.pipeline(transaction=False) as pipeline:
        for n in range(100):
            pipeline.set(f"py:row{n}", n)
            pipeline.get(f"py:row{n}")
        answers = pipeline.execute()
    assert answers == [answer for n in range(100) for answer in (True, str(n))]
    assert len(set(client.scan_iter("py:row*", count=7))) == 100

    # What is refused says why.
    for refused in (
        lambda: client.rename("py:a", "py:c"),
        lambda: client.set("py:a", "3", nx=True),
        lambda: client.lpush("py:list", "1"),
        lambda: client.pipeline(transaction=True).set("py:a", "3").execute(),
    ):
        try:
            refused()
        except redis.ResponseError as error:
            assert "is not supported" in str(error), error
        else:
            raise AssertionError("it is not refused")

    # What Redis has no words for. All of it on one connection: levels and sessions belong to one.
    one = connect(protocol=protocol, single_connection_client=True)
    assert one.execute_command("R.LEVEL", "ONE") == "OK"
    assert one.execute_command("R.SESSION", "ON") == "OK"
    assert one.execute_command("R.PUT", "py:mine", "v1") == 1
    token = one.execute_command("R.SESSION", "TOKEN")
    other = connect(3, protocol=protocol, single_connection_client=True)
    assert other.execute_command("R.LEVEL", "ONE") == "OK"
    assert other.execute_command("R.SESSION", "TOKEN", token) == "OK"
    assert other.get("py:mine") == "v1", "the session sees its write through any node"
    read = pairs(other.execute_command("R.GET", "py:mine", "LEVEL", "QUORUM"))
    assert read["values"] == ["v1"]
    assert other.execute_command("R.SET", "py:mine", "v2", "CONTEXT", read["context"]) == 1
    assert client.get("py:mine") == "v2"
    assert "r.get" in client.execute_command("COMMAND DOCS", "R.GET")

print(f"redis-py {redis.__version__}: all answers are right")
