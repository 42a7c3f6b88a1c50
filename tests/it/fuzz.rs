//! The seeds of the fuzz targets (`fuzz/`), replayed without a fuzzer: what the targets found stays mended, and they still
//! fit the server. `fuzz/run` does the fuzzing.

use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// Shows every seed of a target to it.
fn replay(target: &str, shown: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(seeds.len() >= 10, "the seeds of {target} are where this test looks for them");
    for seed in seeds {
        let bytes = std::fs::read(&seed).unwrap();
        let held = std::panic::catch_unwind(|| shown(&bytes));
        assert!(held.is_ok(), "{} breaks what the target says", seed.display());
    }
}

#[test]
fn seeds_of_frames_hold() {
    replay("frames", targets::frames);
}

#[test]
fn seeds_of_payloads_hold() {
    replay("payload", targets::payload);
}

#[test]
fn seeds_of_tokens_hold() {
    replay("token", targets::token);
}

#[test]
fn seeds_of_uploads_hold() {
    replay("multipart", targets::multipart);
}
