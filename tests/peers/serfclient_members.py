"""Lists members through PyPI's serfclient: `name address:port status`, a line for each."""

import sys

from serfclient.client import SerfClient

client = SerfClient(host=sys.argv[1], port=int(sys.argv[2]))
reply = client.members()
assert not reply.head["Error"], reply.head
for member in reply.body["Members"]:
    assert len(member["Addr"]) == 4, member
    address = ".".join(str(byte) for byte in member["Addr"])
    print(f"{member['Name']} {address}:{member['Port']} {member['Status']}")

filtered = client.members(status="alive", tags={"role": "web"})
print("web:", *(member["Name"] for member in filtered.body["Members"]))
client.close()
