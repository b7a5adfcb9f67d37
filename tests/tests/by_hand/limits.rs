//! How long keys and values may be, and which keys are nobody's.

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::random::Random;
use serde_json::json;

const KEY_BYTES_MAX: usize = 4096;
const VALUE_BYTES_MAX: usize = 1024 * 1024;

#[test]
fn a_key_of_four_kibibytes_is_the_longest() {
    let cluster = Cluster::shared();
    let longest = format!("limits/{}", "k".repeat(KEY_BYTES_MAX - 7));
    cluster
        .kv_run("put")
        .arg(&longest)
        .arg("x")
        .finish()
        .succeeded();
    assert_eq!(cluster.kv_run("get").arg(&longest).finish().stdout, b"x");
    let listed = cluster.kv("ls limits/k -o json").data("ls");
    assert_eq!(listed["entries"][0]["key"], json!(longest));

    let longer = format!("{longest}k");
    for command in ["put -o json", "cas --absent -o json"] {
        let refused = cluster.kv_run(command).arg(&longer).arg("x").finish();
        refused.refused(2, "usage");
    }
    for command in ["get -o json", "del -o json", "ls -o json"] {
        cluster
            .kv_run(command)
            .arg(&longer)
            .finish()
            .refused(2, "usage");
    }
    cluster
        .kv_run("ls limits --after -o json")
        .arg(&longer)
        .finish()
        .refused(2, "usage");
    cluster.kv_run("get").arg("").finish().refused(2, "usage");
}

#[test]
fn a_value_of_one_mebibyte_is_the_longest() {
    let cluster = Cluster::shared();
    let mut random = Random::new(11);
    let longest = random.bytes(VALUE_BYTES_MAX);
    let put = |value: Vec<u8>| {
        cluster
            .kv_run("put limits/v - -o json")
            .input(value)
            .finish()
    };
    put(longest.clone()).succeeded();
    assert!(
        cluster.kv("get limits/v").stdout == longest,
        "another value came back"
    );
    let listed = cluster.kv("ls limits/v -o json").data("ls");
    assert_eq!(listed["entries"][0]["size"], VALUE_BYTES_MAX);

    put(random.bytes(VALUE_BYTES_MAX + 1)).refused(2, "usage");
    let cas = cluster.kv_run("cas limits/v - --expect-rev 1 -o json");
    cas.input(random.bytes(VALUE_BYTES_MAX + 1))
        .finish()
        .refused(2, "usage");
    cluster
        .home
        .secret("long", random.bytes(VALUE_BYTES_MAX + 1));
    cluster.kv("put limits/v @long -o json").refused(2, "usage");
    assert!(
        cluster.kv("get limits/v").stdout == longest,
        "a refused value was written"
    );
    let cas = cluster.kv_run("cas limits/v - --expect-rev 1 -o json");
    cas.input(random.bytes(VALUE_BYTES_MAX))
        .finish()
        .succeeded();
}

#[test]
fn keys_below_system_are_reserved() {
    let cluster = Cluster::shared();
    for command in [
        "put system/x v",
        "get system/x",
        "del system/x",
        "cas system/x v --absent",
    ] {
        let refused = cluster.kv(&format!("{command} -o json"));
        assert!([2, 5].contains(&refused.exit), "{refused:?}");
        assert_eq!(refused.stdout, b"");
    }
    cluster.kv("put systematic x").succeeded();
}
