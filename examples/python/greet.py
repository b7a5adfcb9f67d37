"""Greets over TLS, as one connection of the greeter's clients.

    greet.py HOST:PORT SERVER_KEY_ID CLIENT.cert.pem CLIENT.key.pem NAME...

The server is `cargo run -p sealmoot-examples --bin greeter`; the stubs are made by
`cargo run -p sealmoot-rpc-codegen --example python`; see README.md beside this.
"""

from __future__ import annotations

import asyncio
import sys

import sealmoot_rpc as rpc
from greeter_pb2 import CountRequest, Name
from greeter_rpc import GreeterClient


async def main(server: str, key_id: str, certificate: str, key: str, names: list[str]) -> int:
    host, _, port = server.rpartition(":")
    identity = rpc.Identity(certificate=certificate, key=key)
    try:
        connection = await rpc.connect(
            host, int(port), identity=identity, server=rpc.KeyId.from_hex(key_id)
        )
    except rpc.ConnectError as error:
        print(f"not connected: {error}", file=sys.stderr)
        return 1
    async with connection:
        greeter = GreeterClient(connection)

        # One call each. A failure says whether the call may have had an effect.
        for name in names:
            try:
                print((await greeter.greet(Name(name=name), timeout=1.0)).text)
            except rpc.RpcError as error:
                print(f"{error.code.name}, {error.execution.name}: {error.message}")

        # Both directions at once.
        async with greeter.greet_all(timeout=5.0) as everybody:
            for name in names:
                await everybody.send(Name(name=name))
            await everybody.end()
            async for greeting in everybody:
                print("all:", greeting.text)

        # A stream of replies.
        async for number in greeter.count(CountRequest(end=3), timeout=5.0):
            print("count:", number.value)
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(*sys.argv[1:5], sys.argv[5:])))
