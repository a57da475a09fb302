"""Events and queries through PyPI's serfio: one client sends an event and asks a query, the other
streams both and answers the query, and so does another one after it. Prints what each is told."""

import asyncio
import sys

import serfio
from serfio.errors import SerfError


async def listen(client, answered):
    events = 0
    async for record in client.stream("user:deploy,query:load"):
        if record["Event"] == "query":
            print("streamed:", record["Event"], record["Name"], record["Payload"])
            await client.respond(record["ID"], b"so\xff")
            answered.set()
            return
        events += 1
        if events == 1:
            print("streamed:", record["Event"], record["Name"], record["Payload"])
            yield


async def answer_second(client, begun, answered):
    """Answers what the first has answered already."""
    async for record in client.stream("query:load,user:ready"):
        if record["Event"] == "user":
            begun.set()
            continue
        await answered.wait()
        try:
            await client.respond(record["ID"], b"too late")
        except SerfError as error:
            print("refused:", error)
        return


async def main():
    address = {"host": sys.argv[1], "port": int(sys.argv[2])}
    async with (
        serfio.Serf(**address) as asker,
        serfio.Serf(**address) as responder,
        serfio.Serf(**address) as another,
    ):
        begun, first_answer = asyncio.Event(), asyncio.Event()
        second = asyncio.ensure_future(answer_second(another, begun, first_answer))
        while not begun.is_set():
            await asker.event("ready", b"")
            await asyncio.sleep(0.1)
        listener = listen(responder, first_answer)
        heard = asyncio.ensure_future(anext(listener))
        while not heard.done():
            # Until the stream has begun, nobody hears it.
            await asker.event("deploy", b"abc\xff")
            await asyncio.wait([heard], timeout=0.1)
        await heard
        answered = asyncio.ensure_future(anext(listener, None))
        async for response in asker.query("load", b"now?", timeout=2 * 10**9):
            print("answered:", response["From"], response["Payload"])
        await answered
        await second
        try:
            await asker.event("large", b"x" * 600)
        except SerfError as error:
            print("refused:", error)


asyncio.run(main())
