use std::prelude::v1::*;

use super::*;
use crate::encoding::EncodingError;
use crate::testing::unhex;

const LEAVES_MAX: u64 = 33;

/// The eight leaves of the tests of certificate transparency
/// (github.com/transparency-dev/merkle, `testonly/constants.go`).
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

/// The roots over the first 0 to 8 of them, from the same file.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn node(text: &str) -> Node {
    unhex(text).try_into().expect("32 bytes")
}

fn published_tree() -> Tree {
    let mut tree = Tree::new();
    for leaf in LEAVES {
        tree.append(LeafHash::of(&unhex(leaf)));
    }
    tree
}

fn proof_of(hashes: &[&str]) -> Proof {
    Proof::from_hashes(hashes.iter().map(|text| node(text)).collect()).expect("short")
}

#[test]
fn published_roots() {
    let tree = published_tree();
    let mut frontier = Frontier::new();
    for (size, root) in ROOTS.iter().enumerate() {
        let root = Root::from_bytes(node(root));
        assert_eq!(tree.root_at(size as u64), Ok(root));
        assert_eq!(frontier.root(), root);
        if let Some(leaf) = LEAVES.get(size) {
            frontier.append(LeafHash::of(&unhex(leaf))).expect("room");
        }
    }
}

// transparency-dev/merkle, testdata/inclusion/{0..4}/happy-path.json.
#[test]
fn published_inclusion_proofs() {
    let tree = published_tree();
    let cases: [(u64, u64, &[&str]); 5] = [
        (0, 1, &[]),
        (
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            3,
            &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
        ),
        (
            1,
            5,
            &[
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    for (index, size, hashes) in cases {
        let proof = proof_of(hashes);
        assert_eq!(tree.inclusion_proof(index, size), Ok(proof.clone()));
        let leaf = LeafHash::of(&unhex(LEAVES[index as usize]));
        let root = Root::from_bytes(node(ROOTS[size as usize]));
        assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root), Ok(()));
    }
}

// transparency-dev/merkle, testdata/consistency/{0..4}/happy-path.json.
#[test]
fn published_consistency_proofs() {
    let tree = published_tree();
    let cases: [(u64, u64, &[&str]); 5] = [
        (1, 1, &[]),
        (
            1,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
        (
            6,
            7,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
    ];
    for (old, new, hashes) in cases {
        let proof = proof_of(hashes);
        assert_eq!(tree.consistency_proof(old, new), Ok(proof.clone()));
        let old_root = Root::from_bytes(node(ROOTS[old as usize]));
        let new_root = Root::from_bytes(node(ROOTS[new as usize]));
        assert_eq!(
            verify_consistency(old, &old_root, new, &new_root, &proof),
            Ok(())
        );
    }
}

/// RFC 9162, section 2.1, word by word: slow, recursive, and the oracle of the rest.
mod definition {
    use std::prelude::v1::*;

    use super::super::Node;
    use crate::digest::sha256;

    fn split(count: usize) -> usize {
        let mut power = 1;
        while power * 2 < count {
            power *= 2;
        }
        power
    }

    pub(super) fn tree_hash(leaves: &[Vec<u8>]) -> Node {
        match leaves {
            [] => sha256(b""),
            [leaf] => sha256(&[b"\x00", leaf.as_slice()].concat()),
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len()));
                sha256(&[&b"\x01"[..], &tree_hash(left), &tree_hash(right)].concat())
            }
        }
    }

    pub(super) fn path(index: usize, leaves: &[Vec<u8>]) -> Vec<Node> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let middle = split(leaves.len());
        let (left, right) = leaves.split_at(middle);
        let (mut path, sibling) = match index < middle {
            true => (path(index, left), tree_hash(right)),
            false => (path(index - middle, right), tree_hash(left)),
        };
        path.push(sibling);
        path
    }

    pub(super) fn subproof(old: usize, leaves: &[Vec<u8>], complete: bool) -> Vec<Node> {
        if old == leaves.len() {
            return match complete {
                true => Vec::new(),
                false => vec![tree_hash(leaves)],
            };
        }
        let middle = split(leaves.len());
        let (left, right) = leaves.split_at(middle);
        let (mut proof, sibling) = match old <= middle {
            true => (subproof(old, left, complete), tree_hash(right)),
            false => (subproof(old - middle, right, false), tree_hash(left)),
        };
        proof.push(sibling);
        proof
    }
}

fn leaves(count: u64) -> Vec<Vec<u8>> {
    (0..count)
        .map(|at| format!("leaf {at}").into_bytes())
        .collect()
}

fn tree_of(leaves: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::new();
    for leaf in leaves {
        tree.append(LeafHash::of(leaf));
    }
    tree
}

#[test]
fn every_root_is_the_definitions() {
    let leaves = leaves(LEAVES_MAX);
    let tree = tree_of(&leaves);
    let mut frontier = Frontier::new();
    for size in 0..=leaves.len() {
        let root = Root(definition::tree_hash(&leaves[..size]));
        assert_eq!(tree.root_at(size as u64), Ok(root));
        assert_eq!(tree_of(&leaves[..size]).root(), root);
        assert_eq!((frontier.size(), frontier.root()), (size as u64, root));
        assert_eq!(
            Frontier::from_bytes(&frontier.to_bytes()).expect("canonical"),
            frontier
        );
        if let Some(leaf) = leaves.get(size) {
            assert_eq!(frontier.append(LeafHash::of(leaf)), Ok(size as u64));
        }
    }
}

#[test]
fn every_inclusion_proof_is_the_definitions_and_verifies() {
    let leaves = leaves(LEAVES_MAX);
    let tree = tree_of(&leaves);
    for size in 1..=LEAVES_MAX {
        let root = tree.root_at(size).expect("reached");
        for index in 0..size {
            let proof = tree.inclusion_proof(index, size).expect("there");
            let expected = definition::path(index as usize, &leaves[..size as usize]);
            assert_eq!(proof.hashes(), expected);
            let leaf = LeafHash::of(&leaves[index as usize]);
            assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root), Ok(()));
            // The proof is good for no other place, and no other leaf for the place.
            for other in (0..size).filter(|other| *other != index) {
                let refused = verify_inclusion(&leaf, other, size, &proof, &root);
                assert!(refused.is_err(), "{index} as {other} of {size}");
                let other = LeafHash::of(&leaves[other as usize]);
                let refused = verify_inclusion(&other, index, size, &proof, &root);
                assert_eq!(refused, Err(ProofRejected::RootDiffers));
            }
        }
    }
}

#[test]
fn every_consistency_proof_is_the_definitions_and_verifies() {
    let leaves = leaves(LEAVES_MAX);
    let tree = tree_of(&leaves);
    for new in 1..=LEAVES_MAX {
        let new_root = tree.root_at(new).expect("reached");
        for old in 1..=new {
            let old_root = tree.root_at(old).expect("reached");
            let proof = tree.consistency_proof(old, new).expect("there");
            let expected = definition::subproof(old as usize, &leaves[..new as usize], true);
            assert_eq!(proof.hashes(), expected);
            let verify = |old, old_root: &Root, new_root: &Root| {
                verify_consistency(old, old_root, new, new_root, &proof)
            };
            assert_eq!(verify(old, &old_root, &new_root), Ok(()));
            // Neither root is replaceable.
            let wrong = Root([0x5a; 32]);
            assert!(verify(old, &wrong, &new_root).is_err(), "{old} to {new}");
            assert!(verify(old, &old_root, &wrong).is_err(), "{old} to {new}");
            for other in (1..=LEAVES_MAX).filter(|other| *other != old) {
                let other_root = tree.root_at(other).expect("reached");
                assert!(verify(old, &other_root, &new_root).is_err());
            }
        }
    }
}

/// Every proof with one hash more, one less, and each bit flipped.
fn damaged(proof: &Proof, mut refused: impl FnMut(&Proof, &str)) {
    let hashes = proof.hashes();
    for at in 0..=hashes.len() {
        let mut longer = hashes.to_vec();
        longer.insert(at, [0x33; 32]);
        refused(&Proof::of(longer), "a hash more");
        if let Some(hash) = hashes.get(at) {
            let mut doubled = hashes.to_vec();
            doubled.insert(at, *hash);
            refused(&Proof::of(doubled), "a hash twice");
            let mut shorter = hashes.to_vec();
            shorter.remove(at);
            refused(&Proof::of(shorter), "a hash less");
            for bit in 0..256 {
                let mut flipped = hashes.to_vec();
                flipped[at][bit / 8] ^= 1 << (bit % 8);
                refused(&Proof::of(flipped), "a bit flipped");
            }
        }
    }
}

#[test]
fn every_changed_inclusion_proof_is_refused() {
    let leaves = leaves(13);
    let tree = tree_of(&leaves);
    for size in 1..=13 {
        let root = tree.root_at(size).expect("reached");
        for index in 0..size {
            let leaf = LeafHash::of(&leaves[index as usize]);
            let proof = tree.inclusion_proof(index, size).expect("there");
            damaged(&proof, |proof, how| {
                let outcome = verify_inclusion(&leaf, index, size, proof, &root);
                assert!(outcome.is_err(), "{index} of {size}: {how}");
            });
        }
    }
}

#[test]
fn every_changed_consistency_proof_is_refused() {
    let leaves = leaves(13);
    let tree = tree_of(&leaves);
    for new in 1..=13 {
        let new_root = tree.root_at(new).expect("reached");
        for old in 1..=new {
            let old_root = tree.root_at(old).expect("reached");
            let proof = tree.consistency_proof(old, new).expect("there");
            damaged(&proof, |proof, how| {
                let outcome = verify_consistency(old, &old_root, new, &new_root, proof);
                assert!(outcome.is_err(), "{old} to {new}: {how}");
            });
        }
    }
}

#[test]
fn a_hash_too_many_and_a_hash_too_few_are_told_apart() {
    let tree = published_tree();
    let leaf = LeafHash::of(&unhex(LEAVES[5]));
    let proof = tree.inclusion_proof(5, 8).expect("there");
    let longer = Proof::of([proof.hashes(), &[[0; 32]]].concat());
    let shorter = Proof::of(proof.hashes()[..2].to_vec());
    let verify = |proof: &Proof| verify_inclusion(&leaf, 5, 8, proof, &tree.root());
    assert_eq!(verify(&longer), Err(ProofRejected::TooManyHashes));
    assert_eq!(verify(&shorter), Err(ProofRejected::TooFewHashes));

    let proof = tree.consistency_proof(6, 8).expect("there");
    let longer = Proof::of([proof.hashes(), &[[0; 32]]].concat());
    let shorter = Proof::of(proof.hashes()[..2].to_vec());
    let old_root = tree.root_at(6).expect("reached");
    let verify = |proof: &Proof| verify_consistency(6, &old_root, 8, &tree.root(), proof);
    assert_eq!(verify(&longer), Err(ProofRejected::TooManyHashes));
    assert_eq!(verify(&shorter), Err(ProofRejected::TooFewHashes));
    assert_eq!(verify(&Proof::of(vec![])), Err(ProofRejected::TooFewHashes));
}

#[test]
fn an_empty_proof_does_not_join_different_trees() {
    // Pitfall: a verifier that lets an empty proof pass when the old tree is a
    // complete subtree compares the old root with itself only.
    let tree = published_tree();
    let empty = Proof::of(vec![]);
    for old in [1, 2, 4] {
        let root = tree.root_at(old).expect("reached");
        for new_root in [root, tree.root()] {
            assert_eq!(
                verify_consistency(old, &root, 8, &new_root, &empty),
                Err(ProofRejected::TooFewHashes)
            );
        }
    }
}

#[test]
fn an_old_size_of_zero_is_refused() {
    let tree = published_tree();
    let empty = Root::of_empty_tree();
    for (new, root) in [(0, empty), (8, tree.root())] {
        for hashes in [vec![], vec![[7; 32]]] {
            assert_eq!(
                verify_consistency(0, &empty, new, &root, &Proof::of(hashes)),
                Err(ProofRejected::OldTreeEmpty)
            );
        }
        assert_eq!(
            tree.consistency_proof(0, new),
            Err(NoSuchProof::OldTreeEmpty)
        );
    }
}

#[test]
fn equal_sizes_need_equal_roots_and_an_empty_proof() {
    let tree = published_tree();
    let verify = |root: &Root, hashes: Vec<Node>| {
        verify_consistency(8, &tree.root(), 8, root, &Proof::of(hashes))
    };
    assert_eq!(verify(&tree.root(), vec![]), Ok(()));
    assert_eq!(
        verify(&Root([1; 32]), vec![]),
        Err(ProofRejected::RootDiffers)
    );
    assert_eq!(
        verify(&tree.root(), vec![tree.root().0]),
        Err(ProofRejected::TooManyHashes)
    );
}

#[test]
fn an_index_at_or_above_the_size_is_refused() {
    let tree = published_tree();
    let leaf = LeafHash::of(b"");
    for (index, size) in [(0, 0), (8, 8), (u64::MAX, 8), (u64::MAX, u64::MAX)] {
        assert_eq!(
            verify_inclusion(&leaf, index, size, &Proof::of(vec![]), &tree.root()),
            Err(ProofRejected::IndexOutside { index, size })
        );
    }
    assert_eq!(
        tree.inclusion_proof(8, 8),
        Err(NoSuchProof::IndexOutside { index: 8, size: 8 })
    );
    assert_eq!(
        tree.inclusion_proof(0, 9),
        Err(NoSuchProof::SizeNotReached {
            size: 9,
            present: 8
        })
    );
}

#[test]
fn an_older_tree_larger_than_the_newer_is_refused() {
    let tree = published_tree();
    let (old_size, new_size) = (8, 6);
    let new_root = tree.root_at(6).expect("reached");
    let proof = tree.consistency_proof(6, 8).expect("there");
    assert_eq!(
        verify_consistency(old_size, &tree.root(), new_size, &new_root, &proof),
        Err(ProofRejected::SizesOutOfOrder { old_size, new_size })
    );
    assert_eq!(
        tree.consistency_proof(old_size, new_size),
        Err(NoSuchProof::SizesOutOfOrder { old_size, new_size })
    );
}

#[test]
fn the_largest_sizes_neither_overflow_nor_run_on() {
    let root = Root([9; 32]);
    let leaf = LeafHash([9; 32]);
    for count in [0, 1, 63, 64] {
        let proof = Proof::of(vec![[3; 32]; count]);
        for index in [0, 1, u64::MAX / 2, u64::MAX - 1] {
            assert!(verify_inclusion(&leaf, index, u64::MAX, &proof, &root).is_err());
        }
        for old in [1, 1 << 63, u64::MAX - 1] {
            assert!(verify_consistency(old, &root, u64::MAX, &root, &proof).is_err());
        }
        assert_eq!(
            verify_consistency(u64::MAX, &root, 1, &root, &proof),
            Err(ProofRejected::SizesOutOfOrder {
                old_size: u64::MAX,
                new_size: 1
            })
        );
    }
    // The first leaf of the largest tree has 64 hashes above it: not too many.
    let proof = Proof::of(vec![[3; 32]; 64]);
    assert_eq!(
        verify_inclusion(&leaf, 0, u64::MAX, &proof, &root),
        Err(ProofRejected::RootDiffers)
    );
}

#[test]
fn a_full_frontier_appends_no_more() {
    let mut bytes = 1u16.to_le_bytes().to_vec();
    bytes.extend_from_slice(&(u64::MAX - 1).to_le_bytes());
    bytes.extend_from_slice(&[7; 63 * 32]);
    let mut frontier = Frontier::from_bytes(&bytes).expect("canonical");
    assert_eq!(frontier.append(LeafHash([1; 32])), Ok(u64::MAX - 1));
    let full = frontier.clone();
    assert_eq!(frontier.append(LeafHash([1; 32])), Err(FrontierFull));
    assert_eq!(frontier, full);
}

#[test]
fn a_leaf_is_not_a_node() {
    // A leaf made of two leaf hashes is not their parent.
    let (left, right) = (LeafHash::of(b"a"), LeafHash::of(b"b"));
    let joined = [left.0, right.0].concat();
    assert_ne!(LeafHash::of(&joined).0, parent(&left.0, &right.0));
    assert_ne!(Root(LeafHash::of(b"").0), Root::of_empty_tree());
}

#[test]
fn a_proof_has_one_encoding() {
    let proof = published_tree().inclusion_proof(5, 8).expect("there");
    let bytes = proof.to_bytes();
    assert_eq!(Proof::from_bytes(&bytes), Ok(proof));
    for length in 0..bytes.len() {
        assert!(matches!(
            Proof::from_bytes(&bytes[..length]),
            Err(EncodingError::EndsEarly { .. })
        ));
    }
    assert_eq!(
        Proof::from_bytes(&[bytes.as_slice(), &[0]].concat()),
        Err(EncodingError::TrailingBytes { count: 1 })
    );
    // Whatever is decoded encodes to the bytes it came from.
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Proof::from_bytes(&flipped) {
            assert_eq!(other.to_bytes(), flipped);
        }
    }
}

#[test]
fn a_proof_above_64_hashes_is_refused_before_it_is_read() {
    assert_eq!(
        Proof::from_bytes(&65u32.to_le_bytes()),
        Err(EncodingError::TooLong {
            offset: 0,
            length: 65,
            maximum: 64
        })
    );
    assert_eq!(
        Proof::from_hashes(vec![[0; 32]; 65]),
        Err(ProofRejected::TooManyHashes)
    );
    let most = Proof::from_hashes(vec![[0; 32]; 64]).expect("64");
    assert_eq!(Proof::from_bytes(&most.to_bytes()), Ok(most));
}

#[test]
fn a_frontier_has_one_encoding() {
    let mut frontier = Frontier::new();
    for leaf in &leaves(11) {
        frontier.append(LeafHash::of(leaf)).expect("room");
    }
    let bytes = frontier.to_bytes();
    assert_eq!(bytes.len(), 2 + 8 + 3 * 32);
    for length in 0..bytes.len() {
        assert!(matches!(
            Frontier::from_bytes(&bytes[..length]),
            Err(EncodingError::EndsEarly { .. })
        ));
    }
    assert_eq!(
        Frontier::from_bytes(&[bytes.as_slice(), &[0]].concat()),
        Err(EncodingError::TrailingBytes { count: 1 })
    );
    let mut version = bytes.clone();
    version[0] = 2;
    assert_eq!(
        Frontier::from_bytes(&version),
        Err(EncodingError::Unknown {
            what: "frontier version",
            value: 2
        })
    );
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Frontier::from_bytes(&flipped) {
            assert_ne!(other, frontier);
            assert_eq!(other.to_bytes(), flipped);
        }
    }
}
