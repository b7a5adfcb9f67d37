"""The example that a newcomer runs first: a greeter in Rust, called from Python."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = Path(os.environ["SEALMOOT_BINARIES"])
GREETER = EXAMPLES.parent / "greeter"
SCRIPT = ROOT / "examples" / "python" / "greet.py"
PATIENCE = 60.0


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=PATIENCE
    )


class Example(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def identity(self, name: str) -> str:
        made = run(
            EXAMPLES / "python_identity",
            self.directory / f"{name}.key.pem",
            self.directory / f"{name}.cert.pem",
        )
        self.assertEqual(made.returncode, 0, made.stderr)
        return made.stdout.strip()

    def serve(self, *clients: str) -> tuple[str, str]:
        self.identity("server")
        server = subprocess.Popen(
            [str(GREETER), str(self.directory / "server.key.pem"), "127.0.0.1:0", *clients],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        ready, _, _ = select.select([server.stdout], [], [], PATIENCE)
        self.assertTrue(ready, "the greeter says where it is")
        address, key_id = server.stdout.readline().split()
        return address, key_id

    def greet(
        self, address: str, key_id: str, client: str, *names: str
    ) -> subprocess.CompletedProcess[str]:
        certificate = self.directory / f"{client}.cert.pem"
        key = self.directory / f"{client}.key.pem"
        return run(sys.executable, SCRIPT, address, key_id, certificate, key, *names)

    def test_a_known_client_greets(self) -> None:
        address, key_id = self.serve(self.identity("client"))
        greeted = self.greet(address, key_id, "client", "Ada", "", "Charles")
        self.assertEqual(greeted.returncode, 0, greeted.stderr)
        self.assertEqual(
            greeted.stdout.splitlines(),
            [
                "Hello, Ada!",
                "INVALID_ARGUMENT, NOT_STARTED: whom shall I greet?",
                "Hello, Charles!",
                "all: Hello, Ada!",
                "all: Hello, !",
                "all: Hello, Charles!",
                "count: 0",
                "count: 1",
                "count: 2",
            ],
        )

    def test_an_unknown_client_is_refused(self) -> None:
        address, key_id = self.serve(self.identity("client"))
        self.identity("stranger")
        refused = self.greet(address, key_id, "stranger", "Ada")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("this key is not admitted", refused.stderr)
        self.assertEqual(refused.stdout, "")

    def test_another_server_is_not_talked_to(self) -> None:
        client = self.identity("client")
        address, _ = self.serve(client)
        refused = self.greet(address, client, "client", "Ada")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("not connected", refused.stderr)
        self.assertEqual(refused.stdout, "")


if __name__ == "__main__":
    unittest.main()
