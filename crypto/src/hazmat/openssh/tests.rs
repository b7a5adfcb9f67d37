use std::prelude::v1::*;

use super::*;
use crate::hazmat::raw;

// Made by OpenSSH 9.2's ssh-keygen for this test and for nothing else.
const PRIVATE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
    b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
    QyNTUxOQAAACBQ+Gn3UrzZbR3MsK32kBmbOMwOOmkmcBwYvP1XzzT4qgAAAJCvpYIGr6WC\n\
    BgAAAAtzc2gtZWQyNTUxOQAAACBQ+Gn3UrzZbR3MsK32kBmbOMwOOmkmcBwYvP1XzzT4qg\n\
    AAAEA/uBToVsmNdHcBI5BlKjXVU/9Y0HUCB98v16gZ1YiSPVD4afdSvNltHcywrfaQGZs4\n\
    zA46aSZwHBi8/VfPNPiqAAAACnNhbXBsZSBrZXkBAgM=\n\
    -----END OPENSSH PRIVATE KEY-----\n";
const PUBLIC: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFD4afdSvNltHcywrfaQGZs4zA46aSZwHBi8/VfPNPiq sample key";
const LOCKED: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
    b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABA9zaQRJ2\n\
    8OjO1QIi08zENKAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAILwA1aBMqROxiSjf\n\
    fhU8JPGwyIV56IZBdaM14Yj5OOKGAAAAkKmbDJhQt4u3rWVIArXwvA+K2I3fYa5IkQWRDL\n\
    p3UFkeSzFbh3Y+52EIpPu0aqSi05Ti7pFfXgOt/a6U6OWNgepMBmT1z0t4DMbwPdUskQZN\n\
    DzF3ikbBGQBmF5bVp3xqYqdhkUb9AAHAB2TbZR22TjOC72ANAa9THOMxZppxyrrZay8p+0\n\
    KhqbNl9smXaBdvDg==\n\
    -----END OPENSSH PRIVATE KEY-----\n";
const CURVE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
    b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS\n\
    1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQRYnWsqm3+cVJIVesdRYy1mQTor4PfY\n\
    uSICF3YMNzqDrmWkrSBK8rLLLNdEXUIqNZQEGjHkzNxVDiwfU5PMN3HJAAAAoPVscGH1bH\n\
    BhAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBFidayqbf5xUkhV6\n\
    x1FjLWZBOivg99i5IgIXdgw3OoOuZaStIEryssss10RdQio1lAQaMeTM3FUOLB9Tk8w3cc\n\
    kAAAAgH69o791ysVWv1PZLMeHR4epvhb2sUY32Ax1F1PvoAnkAAAAFY3VydmUBAgM=\n\
    -----END OPENSSH PRIVATE KEY-----\n";
const CURVE_PUBLIC: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBFidayqbf5xUkhV6x1FjLWZBOivg99i5IgIXdgw3OoOuZaStIEryssss10RdQio1lAQaMeTM3FUOLB9Tk8w3cck= curve";

/// The sample's content, for changing it under its Base64.
fn content() -> Vec<u8> {
    let (_, bytes) = decode_block(PRIVATE.as_bytes(), LINE_WIDTH).expect("a block");
    bytes.to_vec()
}

fn read(content: &[u8]) -> Result<(SigningKey, String), OpenSshError> {
    private_from_text(&encode_block(LABEL, LINE_WIDTH, content))
}

/// Where the parts of the content begin.
const CIPHER_AT: usize = MAGIC.len();
const COUNT_AT: usize = CIPHER_AT + 8 + 8 + 4;
const PUBLIC_AT: usize = COUNT_AT + 4;
const PRIVATE_AT: usize = PUBLIC_AT + 4 + PUBLIC_LENGTH;
const CHECK_AT: usize = PRIVATE_AT + 4;
const COPY_AT: usize = CHECK_AT + 8 + 15 + 4;
const SEED_AT: usize = COPY_AT + 32 + 4;
const SECOND_COPY_AT: usize = SEED_AT + 32;
const COMMENT_AT: usize = SECOND_COPY_AT + 32;

#[test]
fn ssh_keygens_own_files_are_read_and_written_alike() {
    let (key, comment) = private_from_text(PRIVATE.as_bytes()).expect("a key");
    assert_eq!(comment, "sample key");
    let (public, told) = public_from_line(PUBLIC).expect("a key");
    assert_eq!((public, told.as_str()), (key.verifying_key(), "sample key"));
    assert_eq!(
        public_to_line(&public, "sample key").expect("short"),
        PUBLIC
    );
    // Written, it differs in the two random check numbers only.
    let text = private_to_text(&key, "sample key").expect("random");
    let (_, written) = decode_block(text.expose(), LINE_WIDTH).expect("a block");
    let own = content();
    assert_eq!(written.len(), own.len());
    assert_eq!(written[..CHECK_AT], own[..CHECK_AT]);
    assert_eq!(written[CHECK_AT + 8..], own[CHECK_AT + 8..]);
}

#[test]
fn every_comment_length_comes_back() {
    let key = raw::import_signing_key(&[7; 32]).expect("a key");
    for length in (0..20).chain([COMMENT_LENGTH_MAX]) {
        let comment = "x".repeat(length);
        let text = private_to_text(&key, &comment).expect("random");
        let (again, told) = private_from_text(text.expose()).expect("a key");
        assert_eq!(again.verifying_key(), key.verifying_key());
        assert_eq!(told, comment);
        let line = public_to_line(&key.verifying_key(), &comment).expect("short");
        let (_, told) = public_from_line(&line).expect("a key");
        assert_eq!(told, comment);
    }
}

#[test]
fn an_encrypted_file_is_named_with_the_way_out() {
    let refused = private_from_text(LOCKED.as_bytes()).expect_err("encrypted");
    assert!(matches!(refused, OpenSshError::Encrypted));
    assert!(refused.to_string().contains("ssh-keygen -p"), "{refused}");
}

#[test]
fn other_types_of_key_are_named() {
    let named = |outcome: Option<OpenSshError>, name: &str| {
        assert!(matches!(outcome, Some(OpenSshError::OtherKeyType(told)) if told == name));
    };
    named(
        private_from_text(CURVE.as_bytes()).err(),
        "ecdsa-sha2-nistp256",
    );
    named(public_from_line(CURVE_PUBLIC).err(), "ecdsa-sha2-nistp256");
    named(public_from_line("ssh-rsa AAAA x").err(), "ssh-rsa");
    named(
        public_from_line("sk-ssh-ed25519@openssh.com AAAA").err(),
        "sk-ssh-ed25519@openssh.com",
    );
    // Inside, where the outer type is ssh-ed25519.
    let mut inner = content();
    inner[CHECK_AT + 8 + 4..COPY_AT - 4].copy_from_slice(b"ssh-ed25518");
    named(read(&inner).err(), "ssh-ed25518");
}

#[test]
fn every_truncation_and_every_byte_more_is_refused() {
    let own = content();
    for length in 0..own.len() {
        assert!(read(&own[..length]).is_err(), "{length}");
    }
    assert!(matches!(
        read(&[own.as_slice(), &[0]].concat()),
        Err(OpenSshError::Malformed("bytes follow the end"))
    ));
    for length in 0..PRIVATE.len() - 1 {
        assert!(private_from_text(&PRIVATE.as_bytes()[..length]).is_err());
    }
}

#[test]
fn every_flipped_bit_is_refused_but_in_the_comment() {
    let own = content();
    let (key, _) = read(&own).expect("a key");
    for bit in 0..own.len() * 8 {
        let mut flipped = own.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok((again, comment)) = read(&flipped) {
            let text = COMMENT_AT + 4..COMMENT_AT + 4 + 10;
            assert!(text.contains(&(bit / 8)), "byte {}", bit / 8);
            assert_eq!(again.verifying_key(), key.verifying_key());
            assert_ne!(comment, "sample key");
        }
    }
}

#[test]
fn each_fault_has_its_name() {
    let with = |at: usize, byte: u8| {
        let mut changed = content();
        changed[at] = byte;
        read(&changed).expect_err("refused")
    };
    let last = content().len() - 1;
    assert!(matches!(with(0, b'O'), OpenSshError::Malformed(_)));
    assert!(matches!(with(CIPHER_AT + 4, b'm'), OpenSshError::Encrypted));
    assert!(matches!(
        with(CIPHER_AT + 12, b'm'),
        OpenSshError::Encrypted
    ));
    assert!(matches!(with(COUNT_AT + 3, 0), OpenSshError::KeyCount(0)));
    assert!(matches!(with(COUNT_AT + 3, 2), OpenSshError::KeyCount(2)));
    assert!(matches!(with(CHECK_AT, 1), OpenSshError::CheckDiffers));
    assert!(matches!(with(SEED_AT, 1), OpenSshError::PublicKeyDiffers));
    assert!(matches!(with(COPY_AT, 1), OpenSshError::PublicKeyDiffers));
    assert!(matches!(
        with(SECOND_COPY_AT, 1),
        OpenSshError::PublicKeyDiffers
    ));
    assert!(matches!(with(last, 4), OpenSshError::Padding));
    assert!(matches!(with(last - 2, 0), OpenSshError::Padding));
    assert!(matches!(with(COMMENT_AT + 4, b'\n'), OpenSshError::Comment));
    assert!(matches!(with(COMMENT_AT + 4, 0xff), OpenSshError::Comment));
}

#[test]
fn another_public_key_outside_is_refused() {
    let other = raw::import_signing_key(&[7; 32]).expect("a key");
    let mut changed = content();
    changed[PUBLIC_AT + 4..PRIVATE_AT].copy_from_slice(&public_blob(&other.verifying_key()));
    assert!(matches!(
        read(&changed),
        Err(OpenSshError::PublicKeyDiffers)
    ));
}

#[test]
fn a_weak_public_key_is_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut changed = content();
    changed[PRIVATE_AT - 32..PRIVATE_AT].copy_from_slice(&identity);
    assert!(matches!(
        read(&changed),
        Err(OpenSshError::PublicKey(KeyRejected::Weak))
    ));
}

#[test]
fn padding_is_no_longer_than_a_block() {
    // Eight bytes more: 1, 2, 3 go on to 11, and all lengths are right.
    let mut changed = content();
    changed.extend_from_slice(&[4, 5, 6, 7, 8, 9, 10, 11]);
    changed[PRIVATE_AT + 3] += 8;
    assert!(matches!(read(&changed), Err(OpenSshError::Padding)));
    // A part that is no multiple of a block.
    let mut changed = content();
    changed.pop();
    changed[PRIVATE_AT + 3] -= 1;
    assert!(matches!(read(&changed), Err(OpenSshError::Padding)));
}

#[test]
fn options_without_a_passphrase_are_refused() {
    let own = content();
    let (head, tail) = own.split_at(COUNT_AT - 4);
    let changed = [head, &[0, 0, 0, 1, 7], &tail[4..]].concat();
    assert!(matches!(
        read(&changed),
        Err(OpenSshError::Malformed("options without a passphrase"))
    ));
}

#[test]
fn a_length_of_four_gibibytes_asks_for_no_memory() {
    for at in [CIPHER_AT, PUBLIC_AT, PRIVATE_AT, COPY_AT - 4, COMMENT_AT] {
        let mut changed = content();
        changed[at..at + 4].copy_from_slice(&[0xff; 4]);
        assert!(matches!(
            read(&changed),
            Err(OpenSshError::Malformed("it ends early"))
        ));
    }
}

#[test]
fn another_block_or_another_width_is_refused() {
    let other = PRIVATE.replace("OPENSSH PRIVATE", "PRIVATE");
    assert!(matches!(
        private_from_text(other.as_bytes()),
        Err(OpenSshError::Malformed("the PEM block is of another kind"))
    ));
    let narrow = encode_block(LABEL, 64, &content());
    assert!(matches!(
        private_from_text(&narrow),
        Err(OpenSshError::Malformed(_))
    ));
    for text in [format!("x\n{PRIVATE}"), format!("{PRIVATE}x\n")] {
        assert!(matches!(
            private_from_text(text.as_bytes()),
            Err(OpenSshError::Malformed(_))
        ));
    }
}

#[test]
fn a_line_ends_as_files_do_and_goes_no_further() {
    assert!(public_from_line(&format!("{PUBLIC}\n")).is_ok());
    assert!(public_from_line(&format!("{PUBLIC}\r\n")).is_ok());
    for line in [
        format!("{PUBLIC}\n\n"),
        format!("{PUBLIC}\n{PUBLIC}\n"),
        format!("{PUBLIC}\0"),
    ] {
        assert!(matches!(
            public_from_line(&line),
            Err(OpenSshError::Comment)
        ));
    }
}

#[test]
fn a_line_with_options_is_refused() {
    for line in [
        format!("restrict {PUBLIC}"),
        format!("from=\"10.0.0.1\" {PUBLIC}"),
        format!(" {PUBLIC}"),
        String::new(),
    ] {
        assert!(matches!(
            public_from_line(&line),
            Err(OpenSshError::Malformed(_))
        ));
    }
}

#[test]
fn every_changed_character_of_the_key_is_refused_or_another_key() {
    let (own, _) = public_from_line(PUBLIC).expect("a key");
    let start = ED25519.len() + 1;
    for at in start..start + PUBLIC_BASE64_LENGTH {
        for bit in 0..7 {
            let mut line = PUBLIC.as_bytes().to_vec();
            line[at] ^= 1 << bit;
            let line = String::from_utf8(line).expect("ASCII");
            if let Ok((key, _)) = public_from_line(&line) {
                assert_ne!(key, own, "{line}");
            }
        }
    }
    for length in 0..start + PUBLIC_BASE64_LENGTH {
        assert!(public_from_line(&PUBLIC[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_comment_is_one_line() {
    let key = raw::import_signing_key(&[7; 32]).expect("a key");
    for comment in ["a\nb", "a\rb", "\0", "\u{7f}", &"x".repeat(1025)] {
        assert!(matches!(
            private_to_text(&key, comment),
            Err(OpenSshError::Comment)
        ));
        assert!(matches!(
            public_to_line(&key.verifying_key(), comment),
            Err(OpenSshError::Comment)
        ));
    }
}

#[test]
fn more_than_the_maximum_is_not_looked_at() {
    let text = "x".repeat(OPENSSH_LENGTH_MAX + 1);
    assert!(matches!(
        private_from_text(text.as_bytes()),
        Err(OpenSshError::TooLong { length: 16_385 })
    ));
    assert!(matches!(
        public_from_line(&text),
        Err(OpenSshError::TooLong { length: 16_385 })
    ));
}
