//! Password records as PHC strings, and what a hash may cost.

use sealmoot_crypto::password::{
    Arena, Cost, Limits, PHC_LENGTH_MAX, PasswordError, PasswordRecord, PhcFault, stretch,
    stretch_within,
};

use crate::kit::{CHEAP, Kit, replaced, report};

/// Bytes 0 to 15 as salt and 0 to 31 as hash.
const SAMPLE: &str =
    "$argon2id$v=19$m=8,t=1,p=1$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const SALT: &str = "$AAECAwQFBgcICQoLDA0ODw$";
const HASH_END: &str = "GxwdHh8";

#[test]
fn password() {
    report("password", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("password");
    kit.accepted("a record", PasswordRecord::from_phc(SAMPLE));
    fields(&mut kit);
    parameters(&mut kit);
    costs(&mut kit);
    salts_and_hashes(&mut kit);
    kit.count()
}

fn read(text: &str) -> Result<PasswordRecord, PasswordError> {
    PasswordRecord::from_phc(text)
}

fn edited(from: &str, to: &str) -> Result<PasswordRecord, PasswordError> {
    read(&replaced(SAMPLE, from, to))
}

fn fault(expected: PhcFault) -> impl Fn(&PasswordError) -> bool {
    move |error| matches!(error, PasswordError::Malformed(found) if *found == expected)
}

fn fields(kit: &mut Kit) {
    let is_fields = fault(PhcFault::Fields);
    kit.refused("empty", read(""), &is_fields);
    kit.refused("no dollar before", read(&SAMPLE[1..]), &is_fields);
    kit.refused("a word before", read(&format!("x{SAMPLE}")), &is_fields);
    kit.refused("a space before", read(&format!(" {SAMPLE}")), &is_fields);
    kit.refused("a dollar behind", read(&format!("{SAMPLE}$")), &is_fields);
    kit.refused(
        "two records",
        read(&format!("{SAMPLE}{SAMPLE}")),
        &is_fields,
    );
    kit.refused("no hash", read(&SAMPLE[..49]), &is_fields);
    // As Argon2 wrote it before version 19.
    kit.refused("no version", edited("$v=19", ""), &is_fields);
    let bcrypt = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW";
    kit.refused("a record of bcrypt", read(bcrypt), &is_fields);
    kit.refused(
        "a record of SHA-512-crypt",
        read("$6$saltstring$svn8UoSVapNtMuq1"),
        &is_fields,
    );
    kit.refused("dollars only", read("$$$$$$"), &is_fields);
    let long = format!("{SAMPLE}{}", "A".repeat(PHC_LENGTH_MAX + 1 - SAMPLE.len()));
    kit.refused("513 bytes", read(&long), fault(PhcFault::TooLong));

    let is_algorithm = fault(PhcFault::Algorithm);
    kit.refused("Argon2i", edited("argon2id", "argon2i"), &is_algorithm);
    kit.refused("Argon2d", edited("argon2id", "argon2d"), &is_algorithm);
    kit.refused("scrypt", edited("argon2id", "scrypt"), &is_algorithm);
    kit.refused(
        "the algorithm in capitals",
        edited("argon2id", "ARGON2ID"),
        &is_algorithm,
    );
    kit.refused("no algorithm", edited("argon2id", ""), &is_algorithm);
    kit.refused(
        "a NUL behind the algorithm",
        edited("argon2id", "argon2id\0"),
        &is_algorithm,
    );
    kit.refused(
        "a Cyrillic letter in the algorithm",
        edited("argon2id", "аrgon2id"),
        &is_algorithm,
    );

    let is_version = fault(PhcFault::Version);
    kit.refused("version 16", edited("v=19", "v=16"), &is_version);
    kit.refused("version 20", edited("v=19", "v=20"), &is_version);
    kit.refused(
        "the version in hexadecimal",
        edited("v=19", "v=0x13"),
        &is_version,
    );
    kit.refused(
        "the version with a zero before",
        edited("v=19", "v=019"),
        &is_version,
    );
    kit.refused(
        "the version without its name",
        edited("v=19", "19"),
        &is_version,
    );
    kit.refused("an empty version", edited("v=19", "v="), &is_version);
}

fn parameters(kit: &mut Kit) {
    let mut bad = |name, from, to| {
        kit.refused(name, edited(from, to), fault(PhcFault::Parameters));
    };
    bad("no parameters", "m=8,t=1,p=1", "");
    bad("parameters in another order", "m=8,t=1", "t=1,m=8");
    bad("no lanes", ",p=1", "");
    bad("memory twice", "m=8", "m=8,m=8");
    bad("a parameter more", "p=1", "p=1,keyid=AAAA");
    bad("a comma behind", "p=1", "p=1,");
    bad("a parameter in capitals", "m=8", "M=8");
    bad("memory without a number", "m=8", "m=");
    bad("memory without its name", "m=8", "8");
    bad("a zero before the number", "m=8", "m=08");
    bad("a plus", "m=8", "m=+8");
    bad("a minus", "t=1", "t=-1");
    bad("a fraction", "t=1", "t=1.0");
    bad("hexadecimal memory", "m=8", "m=0x8");
    bad("a space before the number", "m=8", "m= 8");
    bad("Arabic digits", "m=8", "m=٨");
    bad("memory of 2^32", "m=8", "m=4294967296");
    bad("memory of 2^64 and 8", "m=8", "m=18446744073709551624");
    bad("semicolons", ",t=1,", ";t=1;");
}

fn costs(kit: &mut Kit) {
    let costly = |error: &PasswordError| matches!(error, PasswordError::TooCostly);
    let invalid = |error: &PasswordError| matches!(error, PasswordError::InvalidCost);
    kit.refused("4 TiB of memory", edited("m=8", "m=4294967295"), costly);
    kit.refused("a KiB above 1 GiB", edited("m=8", "m=1048577"), costly);
    kit.refused("17 passes", edited("t=1", "t=17"), costly);
    kit.refused("17 lanes", edited("p=1", "p=17"), costly);
    kit.refused(
        "3 passes over 1 GiB",
        edited("m=8,t=1", "m=1048576,t=3"),
        costly,
    );
    kit.refused("no memory", edited("m=8", "m=0"), invalid);
    kit.refused("7 KiB", edited("m=8", "m=7"), invalid);
    kit.refused("no pass", edited("t=1", "t=0"), invalid);
    kit.refused("no lane", edited("p=1", "p=0"), invalid);
    kit.refused("4 KiB a lane", edited("p=1", "p=2"), invalid);

    let tight = Limits {
        memory_kib: 7,
        ..Limits::DEFAULT
    };
    let within = PasswordRecord::from_phc_within(SAMPLE, &tight);
    kit.refused("above the caller's own limit", within, costly);
    let own = Limits {
        memory_kib: u32::MAX,
        work_kib: u64::MAX,
        ..Limits::OWN
    };
    let dear = replaced(SAMPLE, "m=8", "m=2097153");
    let within = PasswordRecord::from_phc_within(&dear, &own);
    kit.refused("above 2 GiB whatever the caller's limit", within, costly);

    let long = [b'a'; 1025];
    let too_long = |error: &PasswordError| matches!(error, PasswordError::TooLong);
    kit.refused(
        "hashing 1025 bytes",
        PasswordRecord::hash(&long, CHEAP),
        too_long,
    );
    let record = PasswordRecord::from_phc(SAMPLE).expect("a record");
    kit.refused("comparing 1025 bytes", record.verify(&long), too_long);
    kit.refused(
        "stretching 1025 bytes",
        stretch(&long, &[0; 16], CHEAP),
        too_long,
    );
    let nothing = Cost { passes: 0, ..CHEAP };
    kit.refused(
        "hashing in no pass",
        PasswordRecord::hash(b"pw", nothing),
        invalid,
    );
    let nobody = PasswordRecord::of_nobody(Cost { lanes: 99, ..CHEAP });
    kit.refused("nobody's record in 99 lanes", nobody, costly);
    let dear = Cost {
        memory_kib: 9,
        ..CHEAP
    };
    let limits = Limits {
        work_kib: 8,
        ..Limits::OWN
    };
    let within = stretch_within(b"pw", &[0; 16], dear, &limits, &mut Arena::default());
    kit.refused("stretching above a limit of work", within, costly);
}

fn salts_and_hashes(kit: &mut Kit) {
    let mut bad = |name, to| kit.refused(name, edited(SALT, to), fault(PhcFault::Salt));
    bad("no salt", "$$");
    bad("a salt of 7 bytes", "$AAECAwQFBg$");
    bad(
        "a salt of 49 bytes",
        "$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMA$",
    );
    bad("a padded salt", "$AAECAwQFBgcICQoLDA0ODw==$");
    bad(
        "a salt with bits behind its end",
        "$AAECAwQFBgcICQoLDA0ODx$",
    );
    bad("a salt of half a byte", "$AAECAwQFBgcICQoLDA0OD$");
    bad("a salt of Base64 for addresses", "$-_ECAwQFBgcICQoLDA0ODw$");
    bad("a salt of bcrypt's Base64", "$..ECAwQFBgcICQoLDA0ODw$");
    bad("a salt with a line end", "$AAECAwQFBgcI\nCQoLDA0ODw$");

    let mut bad = |name, to| kit.refused(name, edited(HASH_END, to), fault(PhcFault::Hash));
    bad("a hash of 31 bytes", "GxwdHg");
    bad("a hash of 33 bytes", "GxwdHh8g");
    bad(
        "a hash of 64 bytes",
        "GxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw",
    );
    bad("a padded hash", "GxwdHh8=");
    bad("a hash with bits behind its end", "GxwdHh9");
    bad("a hash with a letter too many", "GxwdHh8A8");
    bad("a line end behind the hash", "GxwdHh8\n");
    bad("a NUL behind the hash", "GxwdHh8\0");
    bad("a hash with a letter that is not ASCII", "GxwdHä8");
    let (before, _) = SAMPLE.rsplit_once('$').expect("a hash");
    kit.refused(
        "an empty hash",
        read(&format!("{before}$")),
        fault(PhcFault::Hash),
    );
}
