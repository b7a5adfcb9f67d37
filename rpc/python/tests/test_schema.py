"""What a server says that it serves: as values, and from the Rust server."""

import unittest

import trial_pb2
import trial_rpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from sealmoot.rpc.v1 import health_pb2, health_rpc, reflection_pb2, reflection_rpc
from sealmoot.rpc.v1.details_pb2 import Detail, Details, RetryAfter

import sealmoot_rpc
from sealmoot_rpc import Code, RpcError, blocking
from sealmoot_rpc.details import retry_after
from sealmoot_rpc.frame import Frame, Kind
from sealmoot_rpc.limits import (
    REFLECTION_EARLIER_MAX,
    REFLECTION_SERVICES_BYTES_MAX,
    REFLECTION_SERVICES_MAX,
    SERVICE_NAME_BYTES_MAX,
)
from sealmoot_rpc.payload import encode_failure
from sealmoot_rpc.schema import (
    MalformedServices,
    Malformation,
    OtherSchema,
    ReflectionAbsent,
    ServedSchema,
    ServiceMissing,
    check,
    decode_services,
)
from sealmoot_rpc.status import Execution

from . import trial
from .trial import PATIENCE, FakeServer, RustServer

SERVING = health_pb2.ServingStatus.SERVING_STATUS_SERVING
NOT_SERVING = health_pb2.ServingStatus.SERVING_STATUS_NOT_SERVING


def fingerprint(number):
    return bytes([number]) * 32


def summary(name="shop.v1.Store", present=3, earlier=()):
    return reflection_pb2.ServiceSummary(
        name=name,
        fingerprint=fingerprint(present),
        earlier=[fingerprint(number) for number in earlier],
    )


def encoded(*services):
    return reflection_pb2.ServicesReply(services=services).SerializeToString()


class Lists(unittest.TestCase):
    def refused(self, malformation, data):
        with self.assertRaises(MalformedServices) as refused:
            decode_services(data)
        self.assertEqual(refused.exception.malformation, malformation)

    def test_a_list_longer_than_any_is_refused_before_it_is_read(self):
        # A field of a later version.
        length = REFLECTION_SERVICES_BYTES_MAX - 4
        fits = b"\x12" + bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])
        fits += bytes(length)
        self.assertEqual(len(fits), REFLECTION_SERVICES_BYTES_MAX)
        self.assertEqual(decode_services(fits), {})
        self.refused(Malformation.TOO_LONG, fits + b"\x10\x00")

    def test_bytes_that_are_no_message_are_refused(self):
        sound = encoded(summary())
        for length in range(1, len(sound)):
            self.refused(Malformation.UNDECODABLE, sound[:length])
        for data in (
            b"\x08\x01",
            b"\x0b",
            b"\x02\x00",
            b"\x0a\x02\x08\x01",
            b"\x0a\x03\x0a\x01\xff",
            b"\xff" * 11,
        ):
            self.refused(Malformation.UNDECODABLE, data)

    def test_too_many_services_are_refused(self):
        services = [summary(f"a.S{number}") for number in range(REFLECTION_SERVICES_MAX)]
        self.assertEqual(len(decode_services(encoded(*services))), REFLECTION_SERVICES_MAX)
        self.refused(Malformation.TOO_MANY_SERVICES, encoded(*services, summary("a.More")))

    def test_malformed_names_are_refused(self):
        longest = "a." + "S" * (SERVICE_NAME_BYTES_MAX - 2)
        self.assertIn(longest, decode_services(encoded(summary(longest))))
        for name in ("", ".", "a.", ".a", "a..b", "1a", "a b", "a-b", "ä", "a\n", longest + "S"):
            self.refused(Malformation.SERVICE_NAME, encoded(summary(name)))

    def test_too_many_earlier_schemas_are_refused(self):
        fits = summary(earlier=range(REFLECTION_EARLIER_MAX))
        self.assertEqual(len(decode_services(encoded(fits))["shop.v1.Store"].earlier), 16)
        many = summary(earlier=range(REFLECTION_EARLIER_MAX + 1))
        self.refused(Malformation.TOO_MANY_EARLIER, encoded(many))

    def test_fingerprints_of_another_length_are_refused(self):
        for length in (0, 31, 33):
            one = summary()
            one.fingerprint = bytes(length)
            self.refused(Malformation.FINGERPRINT_LENGTH, encoded(one))
            two = summary()
            two.earlier.append(bytes(length))
            self.refused(Malformation.FINGERPRINT_LENGTH, encoded(two))

    def test_a_service_that_is_there_twice_is_refused(self):
        self.refused(Malformation.SERVICE_TWICE, encoded(summary(), summary(present=4)))

    def test_fields_of_later_versions_are_skipped(self):
        one = summary(earlier=[1]).SerializeToString()
        later = b"\x20\x05\x2d\x01\x02\x03\x04\x31\x01\x02\x03\x04\x05\x06\x07\x08\x3a\x01x"
        data = b"\x0a" + bytes([len(one) + len(later)]) + one + later + b"\x50\x01"
        expected = {"shop.v1.Store": ServedSchema(fingerprint(3), (fingerprint(1),))}
        self.assertEqual(decode_services(data), expected)


class Checks(unittest.TestCase):
    def check(self, wanted, **fields):
        served = decode_services(encoded(summary("shop.v1.Till", 9), summary(**fields)))
        check(served, "shop.v1.Store", fingerprint(wanted))

    def test_a_service_that_is_not_served_is_missing(self):
        for served in ({}, decode_services(encoded(summary("shop.v1.Till")))):
            with self.assertRaises(ServiceMissing):
                check(served, "shop.v1.Store", fingerprint(3))

    def test_another_schema_is_refused_and_told(self):
        for fields in ({"present": 4}, {"present": 4, "earlier": [2, 1]}, {"present": 9}):
            with self.assertRaises(OtherSchema) as refused:
                self.check(3, **fields)
            self.assertEqual(refused.exception.found, fingerprint(fields["present"]))

    def test_the_same_schema_and_one_that_takes_its_clients_are_taken(self):
        self.check(3)
        self.check(3, present=5, earlier=[4, 3, 2])


class RetryAfterDetail(unittest.TestCase):
    def test_what_a_server_asks_for_is_read_as_the_runtime_reads_it(self):
        for milliseconds in (0, 1, 300, 2**64 - 1):
            value = RetryAfter(milliseconds=milliseconds).SerializeToString()
            other = Detail(type="a.Other", value=b"\xff")
            detail = Detail(type="sealmoot.rpc.v1.RetryAfter", value=value)
            details = Details(details=[other, detail]).SerializeToString()
            self.assertEqual(retry_after(details), milliseconds / 1000)
        self.assertIsNone(retry_after(Details(details=[other]).SerializeToString()))
        self.assertIsNone(retry_after(b""))


class Served(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = RustServer()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def place(self):
        server = self.server
        return server.host, server.port, trial.identity("client"), server.key_id

    async def asyncSetUp(self):
        host, port, identity, key = self.place()
        self.connection = await sealmoot_rpc.connect(host, port, identity=identity, server=key)

    async def asyncTearDown(self):
        await self.connection.close()

    async def test_the_fingerprints_of_both_generators_agree(self):
        for client in (
            trial_rpc.TrialClient(self.connection),
            health_rpc.HealthClient(self.connection),
            reflection_rpc.ReflectionClient(self.connection),
        ):
            await sealmoot_rpc.check_schema(client, PATIENCE)

    async def test_a_client_of_another_schema_is_told(self):
        class Other(trial_rpc.TrialClient):
            FINGERPRINT = bytes(32)

        class Missing(trial_rpc.TrialClient):
            SERVICE = "trial.v2.Trial"

        with self.assertRaises(OtherSchema) as other:
            await sealmoot_rpc.check_schema(Other(self.connection), PATIENCE)
        self.assertEqual(other.exception.found, trial_rpc.TrialClient.FINGERPRINT)
        with self.assertRaises(ServiceMissing):
            await sealmoot_rpc.check_schema(Missing(self.connection), PATIENCE)

    def test_plain_code_checks_the_same_over_a_client_that_retries(self):
        class Other(trial_rpc.TrialBlockingClient):
            FINGERPRINT = bytes(32)

        host, port, identity, key = self.place()
        with blocking.connect_retrying(host, port, identity=identity, server=key) as retrying:
            blocking.check_schema(trial_rpc.TrialBlockingClient(retrying), PATIENCE)
            self.assertTrue(retrying.is_up)
            with self.assertRaises(OtherSchema):
                blocking.check_schema(Other(retrying), PATIENCE)

    async def test_a_server_that_does_not_tell_is_told_from_one_that_fails(self):
        def failing(code):
            failure = encode_failure(RpcError(code, Execution.NOT_STARTED, "no"))

            async def script(peer):
                await peer.admit()
                call = (await peer.receive()).call
                await peer.send(Frame(Kind.REPLY, code=code, call=call, payload=failure))
                await peer.stay()

            return script

        for code, expected in (
            (Code.UNIMPLEMENTED, ReflectionAbsent),
            (Code.PERMISSION_DENIED, RpcError),
        ):
            async with FakeServer(failing(code)) as server:
                async with await server.connect() as connection:
                    with self.assertRaises(expected):
                        client = trial_rpc.TrialClient(connection)
                        await sealmoot_rpc.check_schema(client, PATIENCE)

    async def test_reflection_describes_what_the_stubs_call(self):
        client = reflection_rpc.ReflectionClient(self.connection)
        listed = await client.services(reflection_pb2.ServicesRequest(), timeout=PATIENCE)
        names = {service.name for service in listed.services}
        self.assertLessEqual({"trial.v1.Trial", "sealmoot.rpc.v1.Reflection"}, names)
        request = reflection_pb2.DescribeRequest(service="trial.v1.Trial")
        described = await client.describe(request, timeout=PATIENCE)
        self.assertEqual(described.fingerprint, trial_rpc.TrialClient.FINGERPRINT)
        methods = {method.name: method for method in described.methods}
        self.assertTrue(methods["Tally"].at_most_once)
        self.assertFalse(methods["TallyAgain"].at_most_once)
        files = FileDescriptorSet.FromString(described.file_descriptors)
        self.assertIn(trial_pb2.DESCRIPTOR.name, [file.name for file in files.file])
        with self.assertRaises(RpcError) as missing:
            request = reflection_pb2.DescribeRequest(service="trial.v2.Trial")
            await client.describe(request, timeout=PATIENCE)
        self.assertEqual(missing.exception.code, Code.NOT_FOUND)

    async def test_health_is_checked_and_watched_until_the_server_drains(self):
        with RustServer() as server:
            _, _, identity, _ = self.place()
            connection = await sealmoot_rpc.connect(
                server.host, server.port, identity=identity, server=server.key_id
            )
            async with connection:
                client = health_rpc.HealthClient(connection)
                for service in ("", "trial.v1.Trial"):
                    request = health_pb2.HealthRequest(service=service)
                    self.assertEqual((await client.check(request, timeout=PATIENCE)).status, SERVING)
                with self.assertRaises(RpcError) as unknown:
                    request = health_pb2.HealthRequest(service="trial.v2.Trial")
                    await client.check(request, timeout=PATIENCE)
                self.assertEqual(unknown.exception.code, Code.NOT_FOUND)
                watch = client.watch(health_pb2.HealthRequest(), timeout=PATIENCE)
                self.assertEqual((await watch.receive()).status, SERVING)
                server.end()
                self.assertEqual([reply.status async for reply in watch], [NOT_SERVING])


if __name__ == "__main__":
    unittest.main()
