//! The two TLS messages in clear, taken apart and put together again (RFC 8446,
//! sections 4.1.2, 4.1.3 and 4.2).

pub const SUPPORTED_GROUPS: u16 = 10;
pub const ALPN: u16 = 16;
pub const SUPPORTED_VERSIONS: u16 = 43;
pub const KEY_SHARE: u16 = 51;

pub const X25519: u16 = 0x001d;
pub const X25519_MLKEM768: u16 = 0x11ec;

pub const TLS_1_3: [u8; 2] = [3, 4];
pub const TLS_1_2: [u8; 2] = [3, 3];

/// A ClientHello or ServerHello that fills one record.
#[derive(Clone)]
pub struct Hello {
    record_version: [u8; 2],
    kind: u8,
    /// From the legacy version to the compression methods.
    pub fixed: Vec<u8>,
    pub extensions: Vec<(u16, Vec<u8>)>,
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("short");
    [&length.to_be_bytes(), bytes].concat()
}

impl Hello {
    pub fn parse(record: &[u8]) -> Self {
        assert_eq!(record[0], 22, "a handshake record in clear");
        let (header, body) = record[5..].split_at(4);
        assert_eq!(number(&header[1..]), body.len(), "one message, one record");
        let kind = header[0];
        let mut end = 2 + 32;
        end += 1 + number(&body[end..end + 1]);
        if kind == 1 {
            end += 2 + number(&body[end..end + 2]);
            end += 1 + number(&body[end..end + 1]);
        } else {
            end += 2 + 1;
        }
        let mut rest = &body[end + 2..];
        let mut extensions = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(4);
            let (data, tail) = tail.split_at(number(&head[2..]));
            extensions.push((number(&head[..2]) as u16, data.to_vec()));
            rest = tail;
        }
        Self {
            record_version: [record[1], record[2]],
            kind,
            fixed: body[..end].to_vec(),
            extensions,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        for (kind, data) in &self.extensions {
            extensions.extend_from_slice(&kind.to_be_bytes());
            extensions.extend_from_slice(&with_length(data));
        }
        let body = [&self.fixed[..], &with_length(&extensions)].concat();
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        let message = [&[self.kind][..], &length[1..], &body].concat();
        let [major, minor] = self.record_version;
        [&[22, major, minor][..], &with_length(&message)].concat()
    }

    pub fn extension(&self, kind: u16) -> Option<&[u8]> {
        let found = self.extensions.iter().find(|(found, _)| *found == kind);
        found.map(|(_, data)| &data[..])
    }

    pub fn set(&mut self, kind: u16, data: Vec<u8>) {
        for (found, old) in &mut self.extensions {
            if *found == kind {
                *old = data;
                return;
            }
        }
        panic!("no extension {kind}");
    }

    pub fn remove(&mut self, kind: u16) {
        let before = self.extensions.len();
        self.extensions.retain(|(found, _)| *found != kind);
        assert_eq!(self.extensions.len(), before - 1, "extension {kind}");
    }

    /// The groups and shares of a client, or the one of a server.
    pub fn shares(&self) -> Vec<(u16, Vec<u8>)> {
        let mut rest = self.extension(KEY_SHARE).expect("TLS 1.3");
        if self.kind == 1 {
            rest = &rest[2..];
        }
        let mut shares = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(4);
            let (share, tail) = tail.split_at(number(&head[2..]));
            shares.push((number(&head[..2]) as u16, share.to_vec()));
            rest = tail;
        }
        shares
    }

    pub fn set_shares(&mut self, shares: &[(u16, Vec<u8>)]) {
        let mut all = Vec::new();
        for (group, share) in shares {
            all.extend_from_slice(&group.to_be_bytes());
            all.extend_from_slice(&with_length(share));
        }
        if self.kind == 1 {
            all = with_length(&all);
        }
        self.set(KEY_SHARE, all);
    }

    pub fn groups(&self) -> Vec<u16> {
        let list = self.extension(SUPPORTED_GROUPS).expect("a client");
        list[2..]
            .chunks(2)
            .map(|group| number(group) as u16)
            .collect()
    }

    pub fn set_groups(&mut self, groups: &[u16]) {
        let list: Vec<u8> = groups
            .iter()
            .flat_map(|group| group.to_be_bytes())
            .collect();
        self.set(SUPPORTED_GROUPS, with_length(&list));
    }
}
