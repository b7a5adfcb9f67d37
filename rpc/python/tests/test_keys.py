"""Keys and certificates that are refused."""

import unittest

from sealmoot_rpc.keys import SPKI_PREFIX, KeyId, KeyRejected, PublicKey
from sealmoot_rpc.limits import CERTIFICATE_BYTES_MAX
from sealmoot_rpc.tls import ALPN, CertificateRejected, public_key_information, server_key_of

from . import trial

# RFC 8032, section 7.1, test 1.
KEY = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
P = 2**255 - 19


def encoded(y, sign=0):
    return (y | sign << 255).to_bytes(32, "little")


class Keys(unittest.TestCase):
    def test_a_published_key_is_taken(self):
        key = PublicKey(KEY)
        self.assertEqual(PublicKey.from_spki(SPKI_PREFIX + KEY), key)
        self.assertEqual(KeyId.from_hex(str(key.key_id)), key.key_id)

    def test_weak_keys_are_refused(self):
        # The points of order 1, 2, 4 and 8.
        order_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
        flipped = order_8[:31] + bytes([order_8[31] ^ 0x80])
        negated = encoded(P - (int.from_bytes(order_8, "little") & (2**255 - 1)))
        for weak in (encoded(1), encoded(P - 1), encoded(0), encoded(0, 1), order_8, flipped, negated):
            with self.subTest(weak.hex()), self.assertRaisesRegex(KeyRejected, "weak"):
                PublicKey(weak)

    def test_other_forms_of_a_key_are_refused(self):
        for other in (encoded(P), encoded(P + 1), encoded(2**255 - 1), encoded(1, 1), encoded(P - 1, 1)):
            with self.subTest(other.hex()), self.assertRaisesRegex(KeyRejected, "canonical"):
                PublicKey(other)

    def test_what_is_no_point_is_refused(self):
        with self.assertRaisesRegex(KeyRejected, "no point"):
            PublicKey(encoded(2))

    def test_wrong_lengths_are_refused(self):
        for data in (b"", KEY[:31], KEY + b"\0"):
            with self.assertRaises(KeyRejected):
                PublicKey(data)
            with self.assertRaises(KeyRejected):
                PublicKey.from_spki(SPKI_PREFIX + data)
            with self.assertRaises(KeyRejected):
                KeyId(data)

    def test_key_ids_that_do_not_read_are_refused(self):
        for text in ("", "ab", "g" * 64, "a" * 63, "a" * 65, "０" * 64):
            with self.subTest(text), self.assertRaises(KeyRejected):
                KeyId.from_hex(text)


class Session:
    """What a finished handshake tells."""

    def __init__(self, certificate, version="TLSv1.3", protocol=ALPN):
        self.version = lambda: version
        self.selected_alpn_protocol = lambda: protocol
        self.getpeercert = lambda binary_form: certificate


class Certificates(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.identity = trial.identity("keys")
        cls.der = trial.certificate_der(cls.identity)

    def test_the_key_of_a_certificate_is_found(self):
        key = PublicKey.from_spki(public_key_information(self.der))
        self.assertEqual(str(key.key_id), trial.key_id(self.identity))

    def test_a_certificate_cut_anywhere_is_refused(self):
        for length in range(len(self.der)):
            with self.subTest(length), self.assertRaises(CertificateRejected):
                public_key_information(self.der[:length])

    def test_bytes_behind_it_are_refused(self):
        with self.assertRaises(CertificateRejected):
            public_key_information(self.der + b"\0")

    def test_no_change_of_its_frame_is_taken_for_another_key(self):
        key = public_key_information(self.der)
        for index in range(len(self.der)):
            for bit in range(8):
                changed = bytearray(self.der)
                changed[index] ^= 1 << bit
                try:
                    found = public_key_information(bytes(changed))
                except CertificateRejected:
                    continue
                if found != key:
                    # Only a change inside of the key information itself.
                    self.assertTrue(112 <= index < 156, index)

    def test_longer_forms_of_a_length_are_refused(self):
        self.assertEqual(self.der[:3], bytes([0x30, 0x81, 0xE3]))
        for header in (b"\x30\x82\x00\xe3", b"\x30\x83\x00\x00\xe3", b"\x30\x80", b"\x30\xff"):
            with self.subTest(header), self.assertRaises(CertificateRejected):
                public_key_information(header + self.der[3:])

    def test_long_certificates_are_refused_unread(self):
        with self.assertRaisesRegex(CertificateRejected, "too long"):
            public_key_information(bytes(CERTIFICATE_BYTES_MAX + 1))

    def test_a_handshake_of_another_kind_proves_nothing(self):
        key = server_key_of(Session(self.der))
        self.assertEqual(str(key.key_id), trial.key_id(self.identity))
        for session in (
            Session(self.der, version="TLSv1.2"),
            Session(self.der, protocol=None),
            Session(self.der, protocol="h2"),
            Session(None),
        ):
            with self.assertRaises(CertificateRejected):
                server_key_of(session)

    def test_a_weak_key_in_a_certificate_is_refused(self):
        weak = self.der[:124] + encoded(1) + self.der[156:]
        with self.assertRaisesRegex(KeyRejected, "weak"):
            server_key_of(Session(weak))
