use std::prelude::v1::*;

use super::der::{self as encoding, SEQUENCE};
use super::*;
use crate::backend::Backend;
use crate::testing::hex;

/// A 2048-bit key made for these tests by `openssl genpkey`.
const KEY_PEM: &str = include_str!("test_key.pem");

/// The same, as `openssl rsa -traditional` writes it.
const KEY_PKCS1_PEM: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIIEowIBAAKCAQEAsrUgS0Uy32K/WLArDK9QuygnRlPWktAEvGCEDjOZa6CWQYJ6
lOEpZ3mZgrPl98IA2WOnZvJoV2EukpMygVBVqqu1B96U+etdg9qaTQqYZm8of5KP
MkNJVxp723WS+FkvZttT+yJfDluN1pXFTGhf+RKRdzM/rQyYe8BEqFfjuMZuOjNH
rRC1yk+pnsp7So3AjYBKTLz1LLIHSi9sqrlewdYXYD8L2UdLze/FTdes8sc2gOap
MyhEK4W1zDimQShMOGyQJKBrX5fH4chhKJhDuHglhapfIJFoqEeiO9Ms8bCxSHvz
pof8Dy4iqrlSuo0BBzWDaZUPW0MEeuJllGZkgwIDAQABAoIBAFJRNGr3mRNk/Rbx
LyNMrjdHq6+tdq1xvHy5SJryEb2N3yiV3bkublAHpzqZe1jAuHtqd/Xnu0Bkt3s0
6pK+WnefWGgjkyP70rulumW6d7DXiyQYcnWIoQPKYzsX0XcsPbV3WhvYHUkTyyYJ
HzSu72ZfsznhFXe00ZhPXFDfCzpVBoOIOwNSrsSyhWVot7k0n1RA295dKfhMuFK9
STJDeH9/sYsMq6Jehd3yiJxkamdek4ASapR9Lozkn4WZ8UWacajrmLjWigXJF++Q
rDi0hzMfg0vAeP1Dx2Wei11zxDLd/1KoEO1QjUHr9U1nNG6KG5N4xGDoENln6mqC
Z0SYgSECgYEA8Q2UPSE6UTvQRjLOZjLh4r72S8kvul0enoJbEENRJ9nd9xxBrYxd
DG/u9+ToHJTPo4tjjxGdloTvl4wLGizP5EJ4Im5fWerAFH7JfKUi34CKA+FZ8gVY
CYAd7/Dc0BrPWTOpqp+61lxgOLiLie8R24w0bbOWcuoDEAneR4XmTOUCgYEAvcnj
eMIytRb73BzLs6fdlvkKSA+IrnfeKlZIeOa0wA53uiQNL8TxO7MkDuuFo7zVzG6p
LC+nnvIIftaR9lK6YCFlilZdzwlsSwHGCxHaAFMlRByQsyNTHKkLmbNGrEsbq1E9
Tw2BUAK2G6mM2UP638KKS6onB56Ya/UqF/WavUcCgYEAuCjsqOs615b/3rGwGEol
YwsLtgilaxb7bpQeqEUVuoFrX//5eXJ0IC1f/4mlfzh9je/PBx2pLLaxKTG3xa6Y
wUW67Gswc8yyJLZcjtrG0sQsLRy8j/dfNBrqREbbHC5vXTHoHM/deSmn5Y2wJZg9
J2NtJqZ+eZqo7lbrt+7nbLUCgYBbGKm/z+8I7xRLLeM0w7FgAv/FYPdpTw3rYmj8
5zgBK7CaPy25LR3hWvZG1xPZaQ1yR/eZxvH9IA2l3BZJlqHw/HbBtPzoIIzDYAGQ
VKxAFajAjbmC0sTU7+sqhlu43YBVdfQomsHkBrkkg/igXLnxZ258LRr41E4zG4Vt
5Ky2hwKBgGsEm1xpn8yKS7zi8Z16QTHyOmOAKve09ZHw+/C68U21+eQ3ZbpbtMzU
ij42n0k/PARxkdF+MSVK9fO1gHnDiWEtSdkLulc420jc1HUArKGgLRiKMjNAghaB
P/QDxhsXqVCLIlHHWX5rON0G2TwoNwvN5ar6QKDHHWseiJtW+sct
-----END RSA PRIVATE KEY-----
";

/// Its public half, by `openssl pkey -pubout`.
const PUBLIC_PEM: &str = include_str!("test_public_key.pem");

/// The same, by `openssl rsa -RSAPublicKey_out`.
const PUBLIC_PKCS1_PEM: &str = "\
-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAsrUgS0Uy32K/WLArDK9QuygnRlPWktAEvGCEDjOZa6CWQYJ6lOEp
Z3mZgrPl98IA2WOnZvJoV2EukpMygVBVqqu1B96U+etdg9qaTQqYZm8of5KPMkNJ
Vxp723WS+FkvZttT+yJfDluN1pXFTGhf+RKRdzM/rQyYe8BEqFfjuMZuOjNHrRC1
yk+pnsp7So3AjYBKTLz1LLIHSi9sqrlewdYXYD8L2UdLze/FTdes8sc2gOapMyhE
K4W1zDimQShMOGyQJKBrX5fH4chhKJhDuHglhapfIJFoqEeiO9Ms8bCxSHvzpof8
Dy4iqrlSuo0BBzWDaZUPW0MEeuJllGZkgwIDAQAB
-----END RSA PUBLIC KEY-----
";

/// A key of 1024 bits.
const SMALL_PEM: &str = "\
-----BEGIN PRIVATE KEY-----
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAKZWHfvHBj1EiGl6
aM9+7AGjw/h36ltY1jTh8mgtcpAFPkATyN+gP3nQk6LI0IvMaxd7g4q1W/mcS4gR
vGe7b1LeufAXDxnmzgRHuWo1PRGXB6ylOg+yh32gnJ+24aErDvASW06ssoGacxiq
kiJdds19Tigm5BKxTpNXZbTYUbP9AgMBAAECgYAGq4VgR0bUxh7CPApf57MHDc4Z
9JUNPK66SCU0UD470DoCz8hKT168P8TrzimusW/J7UYFFeiuRboxpqRrdHSuSXp8
L4wkfiZy4Xt/nWzToRn55R1rymRCkc0vb2Zc0a9aGcxUGbujLQEyxAG8xOSZgtp+
lHIYW51zrObnRdrM8QJBANK/UXldBuPiWETi7KQCS5Y0kvAyNzcatw2cRHQxcsHD
Nv/soceGHU7v8ptYZ023HlsI8lSOl+S8mO2lgseapZ8CQQDKDYziPfRlNynf7V95
avzBi4CpzCQXq2pqgG5L3Vv+55qROLf+hrO4k+0Nni9PhJzfo8FrZovG8FezJLVN
sCjjAkBHeoRTuW2g1SBDHQRODEk+xM4hkaaQlgsIHrxI/IyDk4aP/t5QIfjG0TNj
5PQEs9sj3UDz1PlHp3/m+oAE2zrZAkEAnRyMQCAMued7GDRr2O3oPFdNZLroFb+k
r8vN+A/YSQ2ukt2XtMLpXM0ptz0ZbKuhkAS1kd3bMoYQq6wPjqk8IQJAZUOaopcy
pzjDqtM/J5Kat8mwNubejt2Jv9gTrnjfre7bA6lyGyNcUUbwVy8FmANbJWXDCEQb
WbkbOz+uPpHkqA==
-----END PRIVATE KEY-----
";

/// Its public half.
const SMALL_PUBLIC_PEM: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCmVh37xwY9RIhpemjPfuwBo8P4
d+pbWNY04fJoLXKQBT5AE8jfoD950JOiyNCLzGsXe4OKtVv5nEuIEbxnu29S3rnw
Fw8Z5s4ER7lqNT0RlwespToPsod9oJyftuGhKw7wEltOrLKBmnMYqpIiXXbNfU4o
JuQSsU6TV2W02FGz/QIDAQAB
-----END PUBLIC KEY-----
";

/// A key of 2048 bits with the exponent 3.
const EXPONENT_3_PEM: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC4xRWlZhM3H3Zo
Kcv2yGUZa5QbUSMMPpKYdipDUReFSSxISFi+00nbhtgMeG73E04PqbXN6ijklT2K
aMXDatsWOMFSZrrpOkEsB+YmHCk2L2zyk1EV2sKQwElPGLB4LJxq4kW5tMVFPWaI
sIw2qqRhaLauWNPQiwR4DWPIA7ZmWadkDK5NDAp1bARJLyanF1Xva5atnn/1wNE3
Yce8WC/Mf/nmUHhON4T1t1QO/SosrRfLa9kYNwiD2UgbJjWb1lFV7zUXDCufJvP9
vOAyaZbwVk6z/4HLmbeNQa8AbHPBiI5old/++TD/PpjTmdMRBnO7wSCqmMGkutDn
6IIQLv+FAgEDAoIBAHsuDm5EDM9qTvAb3U8wQ2ZHuBI2F11/DGWkHCzguljbctra
5dSM2+evOrL69KS3iV/GeTPxcJhjflxF2Szx52Ql1jbvJ0Ym1h1amW69cM7KSKG3
i2PnLGCAMN9lyvrIaEdBg9EjLi4o7wXLCCRxwuubJHQ7N+BcraVeQoVXzu7lTMwq
FK3cNJLFHSywHh6QFXQcpiGDMynVBVwCy7ex5sFIFogSCrePmWzG4/yHaqpoc0CM
+Uv6ER5svhZj+w6F0gflSIrwjTViyZxobttaMT4+HY68WPwYRC90oswiShotQy/4
ObBILWMJ4JEIEOV9UR2iJIgdx7atInhkmcQazisCgYEA6mLqLYQPyat0ZpWN5fmG
Bt7yQvndO5I81dM7+4e5uBvYRPlHEDgVtu/VNY0jCQWzPgsoBkUt3WUMOa47DqiJ
Pe8mrSsPKidG4ZslIdEYqjDmZG28uGdnaaobRPJcCvMY6nuDKmNXg5IhVcg7afJC
cDvVUQ01yz1W4ZNsx8PembUCgYEAyc7jYcQx8e3P8fCZE3+5LuJOWoF8d6TEc1oh
mqETnY67kyDuWALKZ+K3yIcPASddLN9wXOESEXEp8UtVLl2EWFrwmxuULafL4/f7
GBhJouISvfAoQ+oN55v3ddvc+acrvyUeXxM1aViOcjHST8aICdN4mNE2StVgO5/k
06YoMJECgYEAnEHxc61f28ei7w5emVEEBJShgfvo0mF94+In/QUmer062KYvYCVj
z0qOI7NssK53frIartjJPkNde8l8tHBbfp9vHhy0xsTZ67zDa+C7HCCZmEkoeu+a
RnFng0w9XKIQnFJXcZePrQwWOTAnm/bW9X044LN5MijklmJIhS0/ESMCgYEAhons
69ghS/Pf9qBmDP/Qyew0PFZS+m3YTObBEcC3vl8nt2tJkAHcRUHP2wS0q2+Tcz+g
PethYPYb9jI4yZOtkDygZ2e4Hm/dQqVSEBAxF0Fh0/VwLUaz771Po+fopm9yf24U
P2Ijm5Be9svhioRasTeluzYkMeOVfRVDN8QaywsCgYEArPnaR6mdBKbAjXTp1t7Q
2OxghYwa14sDCzf56epjuQX+l/d+qIih1c50zM4xPYMgbxQfGcKRW/AtqKqhylhu
b9e2fjI1jOftaBtbBLA8f92L083INkeshiXKhIj9MSisgWq3PTUe7UKlj4PgUMkM
fYJtA0Y84uImezCtzQeczxo=
-----END PRIVATE KEY-----
";

/// Its public half.
const EXPONENT_3_PUBLIC_PEM: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIDANBgkqhkiG9w0BAQEFAAOCAQ0AMIIBCAKCAQEAuMUVpWYTNx92aCnL9shl
GWuUG1EjDD6SmHYqQ1EXhUksSEhYvtNJ24bYDHhu9xNOD6m1zeoo5JU9imjFw2rb
FjjBUma66TpBLAfmJhwpNi9s8pNRFdrCkMBJTxiweCycauJFubTFRT1miLCMNqqk
YWi2rljT0IsEeA1jyAO2ZlmnZAyuTQwKdWwESS8mpxdV72uWrZ5/9cDRN2HHvFgv
zH/55lB4TjeE9bdUDv0qLK0Xy2vZGDcIg9lIGyY1m9ZRVe81Fwwrnybz/bzgMmmW
8FZOs/+By5m3jUGvAGxzwYiOaJXf/vkw/z6Y05nTEQZzu8EgqpjBpLrQ5+iCEC7/
hQIBAw==
-----END PUBLIC KEY-----
";

const MESSAGE: &[u8] = b"at noon";

fn key(backend: Backend) -> PrivateKey {
    PrivateKey::from_pem_on(backend, KEY_PEM).expect("a key")
}

fn der(pem: &str) -> Vec<u8> {
    decode_pem(pem).expect("PEM").1.to_vec()
}

/// `RSAPublicKey` of these numbers.
fn public_der(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let numbers = [encoding::positive(modulus), encoding::positive(exponent)];
    encoding::element(SEQUENCE, &[&numbers[0], &numbers[1]])
}

/// An odd number of so many bits.
fn odd_number(bits: usize) -> Vec<u8> {
    let mut number = vec![0x55; bits.div_ceil(8)];
    number[0] = 1 << ((bits - 1) % 8);
    number[1..].fill(0x55);
    *number.last_mut().expect("bits") |= 1;
    number
}

const F4: &[u8] = &[1, 0, 1];

#[test]
fn what_is_signed_verifies_under_every_scheme_and_backend() {
    for signer in Backend::ALL {
        let key = key(*signer);
        for scheme in Scheme::ALL {
            let signature = key.sign(scheme, MESSAGE).expect("random");
            assert_eq!(signature.len(), 256);
            for verifier in Backend::ALL {
                let public = PublicKey::from_pem(PUBLIC_PEM)
                    .expect("a key")
                    .on(*verifier);
                assert_eq!(public.verify(scheme, MESSAGE, &signature), Ok(()));
                assert_eq!(
                    public.verify(scheme, b"at moon", &signature),
                    Err(BadSignature)
                );
                for other in Scheme::ALL.into_iter().filter(|other| *other != scheme) {
                    assert_eq!(
                        public.verify(other, MESSAGE, &signature),
                        Err(BadSignature),
                        "{scheme:?} as {other:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_flipped_bit_and_every_other_length_of_a_signature_is_refused() {
    let key = key(Backend::default());
    for scheme in [Scheme::PssSha256, Scheme::Pkcs1Sha256] {
        let signature = key.sign(scheme, MESSAGE).expect("random");
        for backend in Backend::ALL {
            let public = key.public_key().clone().on(*backend);
            let refused = |bytes: &[u8]| {
                assert_eq!(public.verify(scheme, MESSAGE, bytes), Err(BadSignature));
            };
            for bit in 0..signature.len() * 8 {
                let mut changed = signature.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                refused(&changed);
            }
            for length in 0..signature.len() {
                refused(&signature[..length]);
            }
            refused(&[&signature[..], &[0]].concat());
            refused(&[&[0], &signature[..]].concat());
        }
    }
}

#[test]
fn pss_is_salted_and_pkcs1_is_not() {
    for backend in Backend::ALL {
        let key = key(*backend);
        let sign = |scheme| key.sign(scheme, MESSAGE).expect("random");
        assert_ne!(sign(Scheme::PssSha256), sign(Scheme::PssSha256));
        assert_eq!(sign(Scheme::Pkcs1Sha256), sign(Scheme::Pkcs1Sha256));
    }
}

#[test]
fn a_key_is_read_alike_in_each_of_its_forms() {
    let public = PublicKey::from_pem(PUBLIC_PEM).expect("a key");
    assert_eq!(public.bits(), 2048);
    assert_eq!(public.to_der_spki(), der(PUBLIC_PEM));
    assert_eq!(PublicKey::from_pem(PUBLIC_PKCS1_PEM), Ok(public.clone()));
    assert_eq!(
        PublicKey::from_der_spki(&der(PUBLIC_PEM)),
        Ok(public.clone())
    );
    assert_eq!(
        PublicKey::from_der_pkcs1(&der(PUBLIC_PKCS1_PEM)),
        Ok(public.clone())
    );
    for backend in Backend::ALL {
        let public = public.clone().on(*backend);
        for key in [
            PrivateKey::from_pem_on(*backend, KEY_PEM),
            PrivateKey::from_pem_on(*backend, KEY_PKCS1_PEM),
            PrivateKey::from_der_pkcs8_on(*backend, &der(KEY_PEM)),
            PrivateKey::from_der_pkcs1_on(*backend, &der(KEY_PKCS1_PEM)),
        ] {
            assert_eq!(key.expect("a key").public_key(), &public);
        }
    }
}

#[test]
fn keys_of_1024_bits_are_refused() {
    let too_small = KeyRejected::TooSmall { bits: 1024 };
    assert_eq!(PublicKey::from_pem(SMALL_PUBLIC_PEM), Err(too_small));
    for backend in Backend::ALL {
        let outcome = PrivateKey::from_pem_on(*backend, SMALL_PEM);
        assert_eq!(outcome.err(), Some(too_small));
    }
}

#[test]
fn keys_with_the_exponent_3_are_refused() {
    let refused = KeyRejected::ExponentRefused;
    assert_eq!(PublicKey::from_pem(EXPONENT_3_PUBLIC_PEM), Err(refused));
    for backend in Backend::ALL {
        let outcome = PrivateKey::from_pem_on(*backend, EXPONENT_3_PEM);
        assert_eq!(outcome.err(), Some(refused));
    }
}

#[test]
fn modulus_sizes_have_named_bounds() {
    let outcome = |bits| PublicKey::from_der_pkcs1(&public_der(&odd_number(bits), F4));
    for bits in [1, 8, 512, 2047] {
        assert_eq!(outcome(bits), Err(KeyRejected::TooSmall { bits }));
    }
    for bits in [2048, 2049, 3072, 4096, 8191, 8192] {
        assert_eq!(outcome(bits).map(|key| key.bits()), Ok(bits));
    }
    for bits in [8193, 16_384] {
        let maximum = VERIFY_BITS_MAX;
        assert_eq!(outcome(bits), Err(KeyRejected::TooLarge { bits, maximum }));
    }
    // Of private keys the size is seen before anything is computed.
    let private = |bits| {
        let modulus = encoding::positive(&odd_number(bits));
        let (exponent, other) = (encoding::positive(F4), encoding::positive(&[3]));
        let zero = [2, 1, 0];
        let parts: Vec<&[u8]> = vec![
            &zero, &modulus, &exponent, &other, &other, &other, &other, &other, &other,
        ];
        PrivateKey::from_der_pkcs1(&encoding::element(SEQUENCE, &parts)).err()
    };
    let (bits, maximum) = (4097, SIGN_BITS_MAX);
    assert_eq!(private(bits), Some(KeyRejected::TooLarge { bits, maximum }));
    assert_eq!(private(2047), Some(KeyRejected::TooSmall { bits: 2047 }));
    assert_eq!(private(2048), Some(KeyRejected::Inconsistent));
}

#[test]
fn exponents_are_odd_and_from_65537_to_33_bits() {
    let modulus = odd_number(2048);
    let outcome = |exponent: &[u8]| PublicKey::from_der_pkcs1(&public_der(&modulus, exponent));
    let refused: [&[u8]; 9] = [
        &[1],
        &[3],
        &[17],
        &[0xff, 0xff],
        &[1, 0, 0],
        &[1, 0, 2],
        &[2, 0, 0, 0, 1],
        &[0xff, 0xff, 0xff, 0xff, 0xff],
        &[1, 0, 0, 0, 0, 1],
    ];
    for exponent in refused {
        assert_eq!(outcome(exponent), Err(KeyRejected::ExponentRefused));
    }
    for exponent in [&[1, 0, 1][..], &[1, 0, 3], &[1, 0xff, 0xff, 0xff, 0xff]] {
        assert!(outcome(exponent).is_ok());
    }
}

#[test]
fn an_even_modulus_is_refused() {
    let mut modulus = odd_number(2048);
    *modulus.last_mut().expect("bytes") &= 0xfe;
    assert_eq!(
        PublicKey::from_der_pkcs1(&public_der(&modulus, F4)),
        Err(KeyRejected::ModulusRefused)
    );
}

#[test]
fn keys_of_other_algorithms_are_told_so() {
    // RFC 8410 section 10.1: an Ed25519 key, in PEM.
    let ed25519 = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";
    assert_eq!(PublicKey::from_pem(ed25519), Err(KeyRejected::NotRsa));
    // id-RSASSA-PSS ends in 10 where rsaEncryption ends in 1.
    let mut public = der(PUBLIC_PEM);
    assert_eq!(public[16], 0x01);
    public[16] = 0x0a;
    assert_eq!(PublicKey::from_der_spki(&public), Err(KeyRejected::NotRsa));
    let mut private = der(KEY_PEM);
    assert_eq!(private[19], 0x01);
    private[19] = 0x0a;
    assert_eq!(
        PrivateKey::from_der_pkcs8(&private).err(),
        Some(KeyRejected::NotRsa)
    );
}

#[test]
fn a_private_key_is_no_public_key_nor_the_other_way_round() {
    assert_eq!(PublicKey::from_pem(KEY_PEM), Err(KeyRejected::OtherLabel));
    assert_eq!(
        PrivateKey::from_pem(PUBLIC_PEM).err(),
        Some(KeyRejected::OtherLabel)
    );
    let sealed = KEY_PEM.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert_eq!(
        PrivateKey::from_pem(&sealed).err(),
        Some(KeyRejected::OtherLabel)
    );
    // Under the label of the other form the DER is another.
    let relabelled = KEY_PKCS1_PEM.replace("RSA PRIVATE KEY", "PRIVATE KEY");
    assert_eq!(
        PrivateKey::from_pem(&relabelled).err(),
        Some(KeyRejected::Malformed)
    );
}

#[test]
fn what_is_no_strict_pem_is_refused() {
    let long = "A".repeat(PEM_LENGTH_MAX + 1);
    let unended = PUBLIC_PEM.replace("END PUBLIC KEY", "END PRIVATE KEY");
    let headed = PUBLIC_PEM.replace("KEY-----\nMII", "KEY-----\nProc-Type: 4\n\nMII");
    let spaced = PUBLIC_PEM.replace("MII", "M II");
    for text in ["", "PUBLIC KEY", &long, &unended, &headed, &spaced] {
        assert_eq!(PublicKey::from_pem(text), Err(KeyRejected::NotPem));
    }
}

#[test]
fn every_truncation_and_longer_der_is_refused() {
    let (spki, pkcs1) = (der(PUBLIC_PEM), der(PUBLIC_PKCS1_PEM));
    let (pkcs8, private) = (der(KEY_PEM), der(KEY_PKCS1_PEM));
    let malformed = Some(KeyRejected::Malformed);
    for length in 0..spki.len() {
        assert_eq!(PublicKey::from_der_spki(&spki[..length]).err(), malformed);
    }
    for length in 0..pkcs1.len() {
        assert_eq!(PublicKey::from_der_pkcs1(&pkcs1[..length]).err(), malformed);
    }
    for length in 0..pkcs8.len() {
        assert_eq!(
            PrivateKey::from_der_pkcs8(&pkcs8[..length]).err(),
            malformed
        );
    }
    for length in 0..private.len() {
        assert_eq!(
            PrivateKey::from_der_pkcs1(&private[..length]).err(),
            malformed
        );
    }
    let longer = |der: &[u8]| [der, &[0]].concat();
    assert_eq!(PublicKey::from_der_spki(&longer(&spki)).err(), malformed);
    assert_eq!(PublicKey::from_der_pkcs1(&longer(&pkcs1)).err(), malformed);
    assert_eq!(PrivateKey::from_der_pkcs8(&longer(&pkcs8)).err(), malformed);
    assert_eq!(
        PrivateKey::from_der_pkcs1(&longer(&private)).err(),
        malformed
    );
}

#[test]
fn every_flipped_bit_of_a_public_key_is_refused_or_another_key() {
    let good = PublicKey::from_pem(PUBLIC_PEM).expect("a key");
    let spki = good.to_der_spki();
    for bit in 0..spki.len() * 8 {
        let mut changed = spki.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(key) = PublicKey::from_der_spki(&changed) {
            assert!(key != good && key.to_der_spki() == changed, "bit {bit}");
        }
    }
}

#[test]
fn a_private_key_with_any_part_changed_is_refused() {
    let good = der(KEY_PKCS1_PEM);
    for backend in Backend::ALL {
        // From the modulus to the last coefficient, a byte of every stretch. Of d the
        // lower half may differ: the backends sign with the primes alone.
        for at in (8..good.len()).step_by(61).chain([good.len() - 1]) {
            let mut changed = good.clone();
            changed[at] ^= 0x10;
            if let Ok(key) = PrivateKey::from_der_pkcs1_on(*backend, &changed) {
                let signature = key.sign(Scheme::PssSha256, MESSAGE).expect("random");
                let public = PublicKey::from_pem(PUBLIC_PEM).expect("a key");
                assert_eq!(
                    public.verify(Scheme::PssSha256, MESSAGE, &signature),
                    Ok(())
                );
                assert!((270..530).contains(&at), "{backend:?} byte {at}");
            }
        }
    }
}

#[test]
fn debug_shows_no_byte_of_a_private_key() {
    for backend in Backend::ALL {
        assert_eq!(format!("{:?}", key(*backend)), "PrivateKey(RSA, 2048 bits)");
    }
}

/// Runs `openssl` with these arguments; `None` without it.
fn openssl(arguments: &[&str]) -> Option<std::process::Output> {
    std::process::Command::new("openssl")
        .args(arguments)
        .output()
        .ok()
}

#[test]
fn openssl_and_this_crate_take_each_others_signatures() {
    if openssl(&["version"]).is_none_or(|output| !output.status.success()) {
        std::println!("SKIPPED openssl_and_this_crate_take_each_others_signatures: no openssl");
        return;
    }
    let directory = std::env::temp_dir().join(format!(
        "sealmoot-rsa-{}",
        hex(&crate::random::array::<8>().expect("random"))
    ));
    std::fs::create_dir(&directory).expect("a temporary directory");
    let path = |name: &str| directory.join(name).to_str().expect("UTF-8").to_string();
    for (name, content) in [
        ("key", KEY_PEM.as_bytes()),
        ("public", PUBLIC_PEM.as_bytes()),
        ("message", MESSAGE),
    ] {
        std::fs::write(path(name), content).expect("written");
    }
    let pss = [
        "-sigopt",
        "rsa_padding_mode:pss",
        "-sigopt",
        "rsa_pss_saltlen:digest",
    ];
    let schemes: [(Scheme, &str, &[&str]); 6] = [
        (Scheme::PssSha256, "-sha256", &pss),
        (Scheme::PssSha384, "-sha384", &pss),
        (Scheme::PssSha512, "-sha512", &pss),
        (Scheme::Pkcs1Sha256, "-sha256", &[]),
        (Scheme::Pkcs1Sha384, "-sha384", &[]),
        (Scheme::Pkcs1Sha512, "-sha512", &[]),
    ];
    let (key_path, public_path) = (path("key"), path("public"));
    let (signature_path, message_path) = (path("signature"), path("message"));
    for backend in Backend::ALL {
        let key = key(*backend);
        for (scheme, digest, options) in schemes {
            let signature = key.sign(scheme, MESSAGE).expect("random");
            std::fs::write(&signature_path, signature).expect("written");
            let mut arguments = vec!["dgst", digest, "-verify", &public_path];
            arguments.extend_from_slice(options);
            arguments.extend_from_slice(&["-signature", &signature_path, &message_path]);
            let output = openssl(&arguments).expect("openssl runs");
            assert!(output.status.success(), "{scheme:?}: {output:?}");

            let mut arguments = vec!["dgst", digest, "-sign", &key_path];
            arguments.extend_from_slice(options);
            arguments.extend_from_slice(&["-out", &signature_path, &message_path]);
            let output = openssl(&arguments).expect("openssl runs");
            assert!(output.status.success(), "{scheme:?}: {output:?}");
            let signature = std::fs::read(&signature_path).expect("written");
            let public = key.public_key();
            assert_eq!(
                public.verify(scheme, MESSAGE, &signature),
                Ok(()),
                "{scheme:?}"
            );
        }
    }
    std::fs::remove_dir_all(&directory).expect("removed");
}
