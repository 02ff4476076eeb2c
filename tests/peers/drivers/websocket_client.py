"""Talks to an echo over WebSockets in many ways, and says what came of each."""

import asyncio
import json
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

options = json.loads(sys.argv[1])
secure = ssl.create_default_context(cafile=options["ca"]) if options["ca"] else None


def socket(path, **more):
    more = {"ssl": secure, "max_size": None, "proxy": None, "subprotocols": ["echo"]} | more
    return connect(options["url"] + path, **more)


async def echo(message, **more):
    async with socket("/echo", **more) as one:
        await one.send(message)
        return await one.recv()


async def large():
    bytes_ = bytes(number % 251 for number in range(1 << 20))
    plain = await echo(bytes_, compression=None) == bytes_
    return plain and await echo(bytes_) == bytes_


async def fragments():
    async with socket("/echo") as one:
        await one.send(["a ", "message ", "in ", "parts"])
        return await one.recv()


async def pings():
    async with socket("/ping") as one:
        said = await one.recv()
        await (await one.ping(b"and you"))
        return said


async def in_turns():
    async with socket("/echo") as one:
        for number in range(20):
            await one.send(str(number))
            if await one.recv() != str(number):
                return "out of turn"
        return one.subprotocol


async def closed_by_us():
    async with socket("/echo") as one:
        await one.close(4000, "bye")
        return one.close_code


async def closed_by_them():
    async with socket("/close") as one:
        try:
            return await one.recv()
        except ConnectionClosed as closed:
            return [closed.rcvd.code, closed.rcvd.reason]


async def forbidden():
    try:
        async with socket("/forbidden"):
            return "let in"
    except InvalidStatus as refused:
        response = refused.response
        return [response.status_code, response.body.decode()]


async def many():
    both = asyncio.Barrier(20)

    async def one(number):
        async with socket("/echo") as mine:
            await both.wait()
            for turn in range(5):
                await mine.send(f"{number} {turn}")
                if await mine.recv() != f"{number} {turn}":
                    return 0
            await both.wait()
            return 1

    return sum(await asyncio.gather(*(one(number) for number in range(20))))


async def main():
    print(json.dumps({
        "text": await echo("h\u00e9llo \U0001f44b"),
        "binary": list(await echo(b"\x00\xff")),
        "empty": await echo(""),
        "large": await large(),
        "fragments": await fragments(),
        "pings": await pings(),
        "in turns": await in_turns(),
        "closed by us": await closed_by_us(),
        "closed by them": await closed_by_them(),
        "forbidden": await forbidden(),
        "many": await many(),
    }))


asyncio.run(main())
