"""What the tests share: identities, the Rust server, and a server in Python that
does as it is told, also what no lawful one does."""

import asyncio
import atexit
import base64
import logging
import os
import pathlib
import re
import ssl
import subprocess
import tempfile

import sealmoot_rpc
from sealmoot_rpc.frame import Flag, Frame, Input, Kind
from sealmoot_rpc.payload import encode_hello
from sealmoot_rpc.tls import ALPN

BINARIES = pathlib.Path(os.environ["SEALMOOT_BINARIES"])
PATIENCE = 60.0

_directory = tempfile.TemporaryDirectory(prefix="sealmoot-python-")
atexit.register(_directory.cleanup)
_key_ids = {}

# The fake server's listener says so of each client that leaves in a handshake.
logging.getLogger("asyncio").addFilter(
    lambda record: not record.getMessage().startswith("Error on transport creation")
)


def identity(name):
    """An own key for each name."""
    stem = pathlib.Path(_directory.name) / name
    made = sealmoot_rpc.Identity(certificate=f"{stem}.cert.pem", key=f"{stem}.key.pem")
    if name not in _key_ids:
        command = [BINARIES / "python_identity", made.key, made.certificate]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        _key_ids[name] = done.stdout.strip()
    return made


def key_id(of):
    return _key_ids[pathlib.Path(of.key).name.removesuffix(".key.pem")]


def certificate_der(of):
    text = pathlib.Path(of.certificate).read_text(encoding="ascii")
    body = re.fullmatch(r"-----BEGIN CERTIFICATE-----\n(.*)-----END CERTIFICATE-----\n", text, re.S)
    return base64.b64decode(body[1])


class RustServer:
    """The example `python_server`; ends with its `with`. One with a name has that
    identity's key, so that it can come again."""

    def __init__(self, name=None):
        key = [identity(name).key] if name is not None else []
        self._process = subprocess.Popen(
            [BINARIES / "python_server", *key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        address, key = self._process.stdout.readline().split()
        self.host, port = address.rsplit(":", 1)
        self.port = int(port)
        self.key_id = sealmoot_rpc.KeyId.from_hex(key)

    def kill(self):
        self._process.kill()

    def end(self):
        """Has it drain, and does not wait for it."""
        self._process.stdin.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()


class Proxy:
    """Stands between a client and a server and cuts what `bytes_max` says: called
    for each connection, it tells after how many bytes."""

    def __init__(self, target, bytes_max=lambda: None):
        self.target = target
        self.cuts = 0
        self._bytes_max = bytes_max
        self._links = set()
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.host, self.port = self._server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut_all()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut_all(self):
        for link in list(self._links):
            link.cut()

    def _accept(self, reader, writer):
        self._tasks.add(asyncio.ensure_future(self._carry(reader, writer)))

    async def _carry(self, reader, writer):
        try:
            there, back = await asyncio.open_connection(self.target.host, self.target.port)
        except OSError:
            writer.transport.abort()
            return
        link = _ProxyLink(self, [writer, back], self._bytes_max())
        self._links.add(link)
        try:
            await asyncio.gather(link.carry(reader, back), link.carry(there, writer))
        finally:
            link.end()
            self._links.discard(link)


class _ProxyLink:
    def __init__(self, proxy, writers, bytes_left):
        self._proxy = proxy
        self._writers = writers
        self._bytes_left = bytes_left

    async def carry(self, reader, writer):
        try:
            while data := await reader.read(4096):
                if self._bytes_left is not None:
                    data = data[: self._bytes_left]
                    self._bytes_left -= len(data)
                writer.write(data)
                await writer.drain()
                if self._bytes_left == 0:
                    self.cut()
        except OSError:
            pass
        self.end()

    def cut(self):
        self._proxy.cuts += 1
        self.end()

    def end(self):
        for writer in self._writers:
            writer.transport.abort()


class FakeServer:
    """One connection over TLS; `script(peer)` is its life behind the handshake."""

    def __init__(self, script, name="fake", maximum=ssl.TLSVersion.TLSv1_3, alpn=ALPN):
        self.script = script
        self.identity = identity(name)
        self.key_id = sealmoot_rpc.KeyId.from_hex(key_id(self.identity))
        self.host = "127.0.0.1"
        self.received = b""
        self.error = None
        self._tasks = set()
        self._maximum = maximum
        self._alpn = alpn

    async def __aenter__(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.identity.certificate, self.identity.key)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = self._maximum
        if self._alpn:
            context.set_alpn_protocols([self._alpn])
        self._server = await asyncio.start_server(self._accept, self.host, 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.error is not None:
            raise self.error

    def _accept(self, reader, writer):
        self._tasks.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader, writer):
        peer = Peer(reader, writer, self)
        try:
            await asyncio.wait_for(self.script(peer), PATIENCE)
        except (OSError, asyncio.IncompleteReadError):
            # The client has gone, as it may at any time.
            pass
        except Exception as error:
            self.error = error
        finally:
            writer.transport.abort()

    def connect_retrying(self, **fields):
        limits = fields.pop("limits", sealmoot_rpc.Limits(linger=0.2))
        return sealmoot_rpc.connect_retrying(
            self.host,
            self.port,
            identity=identity("client"),
            server=fields.pop("server", self.key_id),
            limits=limits,
            **fields,
        )

    async def connect(self, **fields):
        limits = fields.pop("limits", sealmoot_rpc.Limits(linger=0.2))
        return await sealmoot_rpc.connect(
            self.host,
            self.port,
            identity=identity("client"),
            server=fields.pop("server", self.key_id),
            limits=limits,
            **fields,
        )


class Peer:
    """The fake server's end of a connection."""

    def __init__(self, reader, writer, server):
        self._reader = reader
        self._writer = writer
        self._server = server
        self._input = Input()

    async def admit(self):
        """What a lawful server does until calls come."""
        await self.send(Frame(Kind.HELLO, payload=encode_hello(b"fake")))
        hello = await self.receive()
        assert hello.kind == Kind.HELLO
        await self.send(Frame(Kind.HELLO, Flag.WELCOME))
        return hello

    async def send(self, *frames):
        await self.send_bytes(b"".join(frame.encode() for frame in frames))

    async def send_bytes(self, data):
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self, ignoring=(Kind.PING, Kind.PONG)):
        """The next frame; signs of life are nobody's business here."""
        while True:
            frame = self._input.next()
            if frame is None:
                data = await self._reader.read(65536)
                if not data:
                    raise asyncio.IncompleteReadError(b"", None)
                self._server.received += data
                self._input.feed(data)
            elif frame.kind not in ignoring:
                return frame

    async def drain(self):
        """Reads until the client closes."""
        while data := await self._reader.read(65536):
            self._server.received += data

    def pause_reading(self):
        self._writer.transport.pause_reading()

    async def stay(self):
        """Does nothing until the client closes."""
        await asyncio.sleep(PATIENCE)
