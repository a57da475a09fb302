"""Events and queries through PyPI's serfio: one client sends an event and asks a query, the other
streams both and answers the query. Prints what each is told."""

import asyncio
import sys

import serfio
from serfio.errors import SerfError


async def listen(client):
    events = 0
    async for record in client.stream("user:deploy,query:load"):
        if record["Event"] == "query":
            print("streamed:", record["Event"], record["Name"], record["Payload"])
            await client.respond(record["ID"], b"so")
            return
        events += 1
        if events == 1:
            print("streamed:", record["Event"], record["Name"], record["Payload"])
            yield


async def main():
    address = {"host": sys.argv[1], "port": int(sys.argv[2])}
    async with serfio.Serf(**address) as asker, serfio.Serf(**address) as responder:
        listener = listen(responder)
        heard = asyncio.ensure_future(anext(listener))
        while not heard.done():
            # Until the stream has begun, nobody hears it.
            await asker.event("deploy", b"abc")
            await asyncio.wait([heard], timeout=0.1)
        await heard
        answered = asyncio.ensure_future(anext(listener, None))
        async for response in asker.query("load", b"now?", timeout=2 * 10**9):
            print("answered:", response["From"], response["Payload"])
        await answered
        try:
            await asker.event("large", b"x" * 600)
        except SerfError as error:
            print("refused:", error)


asyncio.run(main())
