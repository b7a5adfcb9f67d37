//! Merkle proofs and frontiers, heads of hash chains.

use std::sync::LazyLock;

use sealmoot_crypto::hash_chain::{Chain, Head};
use sealmoot_crypto::merkle::{
    Frontier, LeafHash, Proof, Tree, verify_consistency, verify_inclusion,
};
use sealmoot_crypto::secret::SecretArray;

use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "merkle_proof",
        authenticates: false,
        samples: || {
            let none = Proof::from_hashes(Vec::new()).expect("few");
            vec![inclusion(), none.to_bytes()]
        },
        check: |bytes| verified(bytes, |_| true),
    },
    Decoder {
        name: "merkle_inclusion",
        authenticates: true,
        samples: || vec![inclusion()],
        check: |bytes| {
            verified(bytes, |proof| {
                verify_inclusion(&leaf(INDEX), INDEX, SIZE, proof, &TREE.root()).is_ok()
            })
        },
    },
    Decoder {
        name: "merkle_consistency",
        authenticates: true,
        samples: || {
            let proof = TREE.consistency_proof(OLD_SIZE, SIZE);
            vec![proof.expect("both sizes were reached").to_bytes()]
        },
        check: |bytes| {
            let old_root = TREE.root_at(OLD_SIZE).expect("reached");
            verified(bytes, |proof| {
                verify_consistency(OLD_SIZE, &old_root, SIZE, &TREE.root(), proof).is_ok()
            })
        },
    },
    Decoder {
        name: "merkle_frontier",
        authenticates: false,
        samples: || {
            let mut frontier = Frontier::new();
            let mut samples = vec![frontier.to_bytes()];
            for index in 0..SIZE {
                frontier.append(leaf(index)).expect("not full");
            }
            samples.push(frontier.to_bytes());
            samples
        },
        check: |bytes| match Frontier::from_bytes(bytes) {
            Ok(mut frontier) => {
                assert_eq!(frontier.to_bytes(), bytes);
                // Whatever size it claims, it has a root and takes a leaf or is full.
                let (size, root) = (frontier.size(), frontier.root());
                match frontier.append(leaf(0)) {
                    Ok(index) => assert_eq!(index, size),
                    Err(_) => assert_eq!((size, frontier.root()), (u64::MAX, root)),
                }
                Outcome::Accepted
            }
            Err(_) => Outcome::Refused,
        },
    },
    Decoder {
        name: "chain_head",
        authenticates: false,
        samples: || {
            let mut chain = Chain::start(&SecretArray::from_bytes([7; 32]), [8; 32]);
            chain.append(b"record").expect("not full");
            vec![Head::EMPTY.to_bytes(), chain.head().to_bytes()]
        },
        check: |bytes| match Head::from_bytes(bytes) {
            Ok(head) => {
                assert_eq!(head.to_bytes(), bytes);
                Outcome::Accepted
            }
            Err(_) => Outcome::Refused,
        },
    },
];

const SIZE: u64 = 11;
const OLD_SIZE: u64 = 6;
const INDEX: u64 = 9;

static TREE: LazyLock<Tree> = LazyLock::new(|| {
    let mut tree = Tree::new();
    for index in 0..SIZE {
        tree.append(leaf(index));
    }
    tree
});

fn leaf(index: u64) -> LeafHash {
    LeafHash::of(&index.to_le_bytes())
}

fn inclusion() -> Vec<u8> {
    let proof = TREE.inclusion_proof(INDEX, SIZE);
    proof.expect("the leaf is there").to_bytes()
}

/// Accepted is what is a proof, in its one encoding, and proves it.
fn verified(bytes: &[u8], verify: impl FnOnce(&Proof) -> bool) -> Outcome {
    match Proof::from_bytes(bytes) {
        Ok(proof) => {
            assert_eq!(proof.to_bytes(), bytes);
            match verify(&proof) {
                true => Outcome::Accepted,
                false => Outcome::Refused,
            }
        }
        Err(_) => Outcome::Refused,
    }
}
