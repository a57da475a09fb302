"""Streams events and sends three through PyPI's serfclient, which knows no queries: prints each as it
comes back, `name payload`."""

import sys

from serfclient.client import SerfClient

address = {"host": sys.argv[1], "port": int(sys.argv[2]), "timeout": 10}
listener = SerfClient(**address)
stream = listener.stream("user")
assert not stream.head["Error"], stream.head

sender = SerfClient(**address)
for payload in ["abc", "", b"\xff\x00\xe9"]:
    reply = sender.event("deploy", payload, coalesce=False)
    assert not reply.head["Error"], reply.head
    # The end of what is streamed for one event is not seen before the next one comes.
    record = next(stream.body)
    assert not record.head["Error"], record.head
    assert record.body["Event"] == "user" and not record.body["Coalesce"], record.body
    # Serf before 0.10 has nil for an empty payload.
    print(record.body["Name"], record.body["Payload"] or b"")

refused = sender.event("large", "x" * 600)
print(refused.head["Error"])
sender.close()
listener.close()
