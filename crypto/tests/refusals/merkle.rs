//! Proofs of Merkle trees, and frontiers.

use sealmoot_crypto::encoding::EncodingError;
use sealmoot_crypto::merkle::{
    Frontier, FrontierFull, HASH_LENGTH, LeafHash, NoSuchProof, PROOF_HASHES_MAX, Proof,
    ProofRejected, Root, Tree, verify_consistency, verify_inclusion,
};

use crate::kit::{
    Kit, ends_early, flipped, longer, report, shorter, spliced, unknown, with, with_byte,
};

/// Eleven leaves: subtrees of 8, 2 and 1.
const SIZE: u64 = 11;
const OLD_SIZE: u64 = 6;
/// Four hashes lead from this leaf to the root; three from the last.
const INDEX: u64 = 4;

#[test]
fn merkle() {
    report("merkle", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("merkle");
    encoded(&mut kit);
    inclusion(&mut kit);
    consistency(&mut kit);
    asked(&mut kit);
    frontiers(&mut kit);
    kit.count()
}

fn leaf(index: u64) -> LeafHash {
    LeafHash::of(&index.to_le_bytes())
}

fn tree() -> Tree {
    let mut tree = Tree::new();
    for index in 0..SIZE {
        tree.append(leaf(index));
    }
    tree
}

/// A proof of these hashes.
fn of(hashes: &[[u8; HASH_LENGTH]]) -> Proof {
    Proof::from_hashes(hashes.to_vec()).expect("few")
}

fn without(proof: &Proof, at: usize) -> Proof {
    let mut hashes = proof.hashes().to_vec();
    hashes.remove(at);
    of(&hashes)
}

fn with_extra(proof: &Proof, at: usize) -> Proof {
    let mut hashes = proof.hashes().to_vec();
    hashes.insert(at, [0; HASH_LENGTH]);
    of(&hashes)
}

fn changed(proof: &Proof, at: usize) -> Proof {
    let mut hashes = proof.hashes().to_vec();
    hashes[at][0] ^= 1;
    of(&hashes)
}

fn swapped(proof: &Proof) -> Proof {
    let mut hashes = proof.hashes().to_vec();
    hashes.swap(0, 1);
    of(&hashes)
}

fn encoded(kit: &mut Kit) {
    let sample = tree()
        .inclusion_proof(INDEX, SIZE)
        .expect("there")
        .to_bytes();
    let read = |bytes: &[u8]| Proof::from_bytes(bytes);
    kit.accepted("a proof in bytes", read(&sample));
    let count = |count: u32| with(&sample, 0, &count.to_le_bytes());
    kit.refused("encoded: empty", read(&[]), |error| ends_early(error, 0, 4));
    kit.refused(
        "encoded: cut off in a hash",
        read(&shorter(&sample, 1)),
        |error| ends_early(error, 4 + 3 * HASH_LENGTH, 1),
    );
    kit.refused("encoded: a count of one more", read(&count(5)), |error| {
        ends_early(error, 4 + 4 * HASH_LENGTH, HASH_LENGTH)
    });
    kit.refused("encoded: a count of one less", read(&count(3)), |error| {
        matches!(error, EncodingError::TrailingBytes { count: HASH_LENGTH })
    });
    kit.refused("encoded: 65 hashes", read(&count(65)), |error| {
        matches!(
            error,
            EncodingError::TooLong {
                offset: 0,
                length: 65,
                maximum: 64
            }
        )
    });
    kit.refused(
        "encoded: 2^32 - 1 hashes",
        read(&count(u32::MAX)),
        |error| matches!(error, EncodingError::TooLong { maximum: 64, .. }),
    );
    kit.refused(
        "encoded: a byte behind",
        read(&longer(&sample, &[0])),
        |error| matches!(error, EncodingError::TrailingBytes { count: 1 }),
    );
    let many = Proof::from_hashes(vec![[0; HASH_LENGTH]; PROOF_HASHES_MAX + 1]);
    kit.refused("65 hashes at hand", many, |error| {
        matches!(error, ProofRejected::TooManyHashes)
    });
}

fn inclusion(kit: &mut Kit) {
    let tree = tree();
    let root = tree.root();
    let proof = tree.inclusion_proof(INDEX, SIZE).expect("there");
    let verify = |proof: &Proof| verify_inclusion(&leaf(INDEX), INDEX, SIZE, proof, &root);
    let too_few = |error: &ProofRejected| matches!(error, ProofRejected::TooFewHashes);
    let too_many = |error: &ProofRejected| matches!(error, ProofRejected::TooManyHashes);
    let differs = |error: &ProofRejected| matches!(error, ProofRejected::RootDiffers);
    kit.accepted("an inclusion", verify(&proof));

    kit.refused("inclusion: no hashes", verify(&of(&[])), too_few);
    kit.refused(
        "inclusion: the first hash left out",
        verify(&without(&proof, 0)),
        too_few,
    );
    kit.refused(
        "inclusion: the last hash left out",
        verify(&without(&proof, 3)),
        too_few,
    );
    kit.refused(
        "inclusion: a hash before",
        verify(&with_extra(&proof, 0)),
        too_many,
    );
    kit.refused(
        "inclusion: a hash behind",
        verify(&with_extra(&proof, 4)),
        too_many,
    );
    let full = of(&[[0; HASH_LENGTH]; PROOF_HASHES_MAX]);
    kit.refused("inclusion: 64 hashes", verify(&full), too_many);
    kit.refused(
        "inclusion: the first hash changed",
        verify(&changed(&proof, 0)),
        differs,
    );
    kit.refused(
        "inclusion: the last hash changed",
        verify(&changed(&proof, 3)),
        differs,
    );
    kit.refused(
        "inclusion: hashes swapped",
        verify(&swapped(&proof)),
        differs,
    );
    let mut hashes = proof.hashes().to_vec();
    hashes.reverse();
    kit.refused("inclusion: hashes downwards", verify(&of(&hashes)), differs);
    let of_another = tree.inclusion_proof(INDEX + 1, SIZE).expect("there");
    kit.refused(
        "inclusion: the proof of a neighbour",
        verify(&of_another),
        differs,
    );
    let of_old = tree.inclusion_proof(INDEX, OLD_SIZE).expect("there");
    kit.refused(
        "inclusion: the proof in an older tree",
        verify(&of_old),
        too_few,
    );

    let at = |index, size| verify_inclusion(&leaf(INDEX), index, size, &proof, &root);
    kit.refused(
        "inclusion: at the neighbour's place",
        at(INDEX + 1, SIZE),
        differs,
    );
    kit.refused(
        "inclusion: at a place two further",
        at(INDEX + 2, SIZE),
        differs,
    );
    kit.refused(
        "inclusion: at a place with a shorter way",
        at(10, SIZE),
        too_many,
    );
    kit.refused("inclusion: one behind the end", at(SIZE, SIZE), |error| {
        matches!(
            error,
            ProofRejected::IndexOutside {
                index: SIZE,
                size: SIZE
            }
        )
    });
    kit.refused(
        "inclusion: at place 2^64 - 1",
        at(u64::MAX, SIZE),
        |error| {
            matches!(
                error,
                ProofRejected::IndexOutside {
                    index: u64::MAX,
                    ..
                }
            )
        },
    );
    kit.refused("inclusion: in an empty tree", at(0, 0), |error| {
        matches!(error, ProofRejected::IndexOutside { index: 0, size: 0 })
    });
    kit.refused("inclusion: in a tree too small", at(INDEX, 8), too_many);
    kit.refused("inclusion: in a tree too large", at(INDEX, 17), too_few);
    kit.refused(
        "inclusion: in a tree of 2^64 - 1",
        at(INDEX, u64::MAX),
        too_few,
    );

    let of_leaf = |leaf: &LeafHash, proof: &Proof, root: &Root| {
        verify_inclusion(leaf, INDEX, SIZE, proof, root)
    };
    kit.refused(
        "inclusion: of another leaf",
        of_leaf(&leaf(5), &proof, &root),
        differs,
    );
    let bare = LeafHash::from_bytes([0; 32]);
    kit.refused(
        "inclusion: of a leaf of zeros",
        of_leaf(&bare, &proof, &root),
        differs,
    );
    let old_root = tree.root_at(OLD_SIZE).expect("reached");
    kit.refused(
        "inclusion: under an older root",
        of_leaf(&leaf(INDEX), &proof, &old_root),
        differs,
    );
    let empty = Root::of_empty_tree();
    kit.refused(
        "inclusion: under the empty root",
        of_leaf(&leaf(INDEX), &proof, &empty),
        differs,
    );
    // Without the bytes that tell leaves from nodes, the two children of a node would
    // be a leaf of their own.
    let pair = [leaf(4).as_bytes().as_slice(), leaf(5).as_bytes()].concat();
    let node = verify_inclusion(&LeafHash::of(&pair), 2, 6, &without(&proof, 0), &root);
    kit.refused("inclusion: a node passed off as a leaf", node, |error| {
        matches!(error, ProofRejected::RootDiffers)
    });
    let lone = verify_inclusion(&leaf(0), 0, 1, &of(&[]), &root);
    kit.refused("inclusion: the only leaf of another root", lone, differs);
}

fn consistency(kit: &mut Kit) {
    let tree = tree();
    let (root, old_root) = (tree.root(), tree.root_at(OLD_SIZE).expect("reached"));
    let proof = tree.consistency_proof(OLD_SIZE, SIZE).expect("reached");
    let last = proof.hashes().len() - 1;
    let verify = |proof: &Proof| verify_consistency(OLD_SIZE, &old_root, SIZE, &root, proof);
    let too_few = |error: &ProofRejected| matches!(error, ProofRejected::TooFewHashes);
    let too_many = |error: &ProofRejected| matches!(error, ProofRejected::TooManyHashes);
    let old_differs = |error: &ProofRejected| matches!(error, ProofRejected::OldRootDiffers);
    let differs = |error: &ProofRejected| matches!(error, ProofRejected::RootDiffers);
    kit.accepted("a consistency", verify(&proof));

    kit.refused("consistency: no hashes", verify(&of(&[])), too_few);
    kit.refused(
        "consistency: the first hash left out",
        verify(&without(&proof, 0)),
        too_few,
    );
    kit.refused(
        "consistency: the last hash left out",
        verify(&without(&proof, last)),
        too_few,
    );
    kit.refused(
        "consistency: a hash behind",
        verify(&with_extra(&proof, last + 1)),
        too_many,
    );
    kit.refused(
        "consistency: the first hash changed",
        verify(&changed(&proof, 0)),
        old_differs,
    );
    kit.refused(
        "consistency: the last hash changed",
        verify(&changed(&proof, last)),
        differs,
    );
    kit.refused(
        "consistency: hashes swapped",
        verify(&swapped(&proof)),
        old_differs,
    );

    let between = |old_size, old_root: &Root, size, root: &Root| {
        verify_consistency(old_size, old_root, size, root, &proof)
    };
    kit.refused(
        "consistency: the roots swapped",
        between(OLD_SIZE, &root, SIZE, &old_root),
        old_differs,
    );
    kit.refused(
        "consistency: another new root",
        between(OLD_SIZE, &old_root, SIZE, &old_root),
        differs,
    );
    kit.refused(
        "consistency: another old root",
        between(OLD_SIZE, &root, SIZE, &root),
        old_differs,
    );
    kit.refused(
        "consistency: the sizes swapped",
        between(SIZE, &root, OLD_SIZE, &old_root),
        |error| {
            matches!(
                error,
                ProofRejected::SizesOutOfOrder {
                    old_size: SIZE,
                    new_size: OLD_SIZE
                }
            )
        },
    );
    kit.refused(
        "consistency: with an empty tree",
        between(0, &Root::of_empty_tree(), SIZE, &root),
        |error| matches!(error, ProofRejected::OldTreeEmpty),
    );
    kit.refused(
        "consistency: hashes between equal trees",
        between(SIZE, &root, SIZE, &root),
        too_many,
    );
    kit.refused(
        "consistency: a new tree of 2^64 - 1",
        between(OLD_SIZE, &old_root, u64::MAX, &root),
        too_few,
    );
    let none = of(&[]);
    let forked = verify_consistency(SIZE, &old_root, SIZE, &root, &none);
    kit.refused("consistency: two roots of one size", forked, differs);
    let eight = tree.root_at(8).expect("reached");
    let none = verify_consistency(8, &eight, SIZE, &root, &none);
    kit.refused("consistency: no hashes, from a full tree", none, too_few);
    let grown = tree.consistency_proof(8, SIZE).expect("reached");
    let repeated = Proof::from_hashes([&[*eight.as_bytes()][..], grown.hashes()].concat());
    let repeated = verify_consistency(8, &eight, SIZE, &root, &repeated.expect("few"));
    kit.refused(
        "consistency: the old root before the rest",
        repeated,
        too_many,
    );
    let inclusion = tree.inclusion_proof(INDEX, SIZE).expect("there");
    kit.refused(
        "consistency: a proof of inclusion",
        verify(&inclusion),
        |error| matches!(error, ProofRejected::OldRootDiffers),
    );
}

/// What a tree is asked for and cannot give.
fn asked(kit: &mut Kit) {
    let tree = tree();
    let not_reached = |error: &NoSuchProof| {
        matches!(
            error,
            NoSuchProof::SizeNotReached {
                size: 12,
                present: SIZE
            }
        )
    };
    kit.refused(
        "asked: a root not yet reached",
        tree.root_at(12),
        not_reached,
    );
    kit.refused(
        "asked: an inclusion in a tree not reached",
        tree.inclusion_proof(0, 12),
        not_reached,
    );
    kit.refused(
        "asked: a consistency with a tree not reached",
        tree.consistency_proof(1, 12),
        not_reached,
    );
    kit.refused(
        "asked: the inclusion of a later leaf",
        tree.inclusion_proof(8, 8),
        |error| matches!(error, NoSuchProof::IndexOutside { index: 8, size: 8 }),
    );
    kit.refused(
        "asked: a consistency backwards",
        tree.consistency_proof(9, 8),
        |error| {
            matches!(
                error,
                NoSuchProof::SizesOutOfOrder {
                    old_size: 9,
                    new_size: 8
                }
            )
        },
    );
    kit.refused(
        "asked: a consistency with nothing",
        tree.consistency_proof(0, 8),
        |error| matches!(error, NoSuchProof::OldTreeEmpty),
    );
}

fn frontiers(kit: &mut Kit) {
    const SIZE_AT: usize = 2;
    let mut frontier = Frontier::new();
    for index in 0..SIZE {
        frontier.append(leaf(index)).expect("not full");
    }
    let sample = frontier.to_bytes();
    let read = |bytes: &[u8]| Frontier::from_bytes(bytes);
    kit.accepted("a frontier", read(&sample));
    let size = |size: u64| with(&sample, SIZE_AT, &size.to_le_bytes());
    kit.refused("frontier: empty", read(&[]), |error| {
        ends_early(error, 0, 2)
    });
    kit.refused(
        "frontier: version 0",
        read(&with_byte(&sample, 0, 0)),
        |error| unknown(error, "frontier version", 0),
    );
    kit.refused(
        "frontier: version 3",
        read(&with_byte(&sample, 0, 3)),
        |error| unknown(error, "frontier version", 3),
    );
    kit.refused(
        "frontier: cut off in the size",
        read(&sample[..9]),
        |error| ends_early(error, SIZE_AT, 1),
    );
    kit.refused(
        "frontier: cut off in a hash",
        read(&shorter(&sample, 1)),
        |error| ends_early(error, 10 + 2 * HASH_LENGTH, 1),
    );
    kit.refused(
        "frontier: a size with a bit more",
        read(&size(15)),
        |error| ends_early(error, 10 + 3 * HASH_LENGTH, HASH_LENGTH),
    );
    kit.refused(
        "frontier: a size with a bit less",
        read(&size(3)),
        |error| matches!(error, EncodingError::TrailingBytes { count: HASH_LENGTH }),
    );
    kit.refused(
        "frontier: a size of 2^64 - 1",
        read(&size(u64::MAX)),
        |error| ends_early(error, 10 + 3 * HASH_LENGTH, HASH_LENGTH),
    );
    kit.refused("frontier: hashes of no leaves", read(&size(0)), |error| {
        matches!(error, EncodingError::TrailingBytes { count: 96 })
    });
    kit.refused(
        "frontier: a byte behind",
        read(&longer(&sample, &[0])),
        |error| matches!(error, EncodingError::TrailingBytes { count: 1 }),
    );
    let twice = spliced(&sample, 10..10, &sample[10..10 + HASH_LENGTH]);
    kit.refused("frontier: a hash twice", read(&twice), |error| {
        matches!(error, EncodingError::TrailingBytes { count: HASH_LENGTH })
    });
    let full = [&[1, 0][..], &[0xff; 8], &[0; 64 * HASH_LENGTH]].concat();
    let mut full = kit.accepted("a full frontier", read(&full));
    kit.refused(
        "frontier: a leaf for a full one",
        full.append(leaf(0)),
        |error| matches!(error, FrontierFull),
    );
    // Hashes are not told from others; the root is another one.
    let mut changed = kit.accepted("a changed frontier", read(&flipped(&sample, 10)));
    assert_ne!(changed.root(), frontier.root());
    kit.accepted("a further leaf", changed.append(leaf(SIZE)));
}
