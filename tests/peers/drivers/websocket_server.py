"""Echoes messages, and says how its connections end. Says its port first."""

import asyncio
import http
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosedError


def refuse(connection, request):
    if request.path == "/forbidden":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not you\n")
    return None


async def talk(socket):
    if socket.request.path == "/close":
        await socket.close(4001, "told to")
        return
    if socket.request.path == "/ping":
        await (await socket.ping(b"are you there"))
        await socket.send("you are")
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosedError:
        # Any code but the usual ones.
        pass
    print("closed", socket.close_code, socket.close_reason)


async def main():
    options = {"process_request": refuse, "max_size": None, "subprotocols": ["echo"]}
    async with serve(talk, "127.0.0.1", 0, **options) as server:
        print("listening", server.sockets[0].getsockname()[1])
        await server.serve_forever()


sys.stdout.reconfigure(line_buffering=True)
asyncio.run(main())
