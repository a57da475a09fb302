"""Lists members through PyPI's serfio: `name address:port status`, a line for each."""

import asyncio
import sys

import serfio


async def main():
    async with serfio.Serf(host=sys.argv[1], port=int(sys.argv[2])) as client:
        for member in await client.members():
            assert len(member["Addr"]) == 4, member
            address = ".".join(str(byte) for byte in member["Addr"])
            print(f"{member['Name']} {address}:{member['Port']} {member['Status']}")
        filtered = await client.members_filtered(status="alive", tags={"role": "web"})
        print("web:", *(member["Name"] for member in filtered))


asyncio.run(main())
