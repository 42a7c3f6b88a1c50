//! Saying loudly that something was not tested.

use std::env::consts::EXE_SUFFIX;
use std::io::Write;

/// Prints that a test is skipped; past the capture of the test runner, so that it is always seen.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Nothing can be done about a closed stderr.
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED {test}: {why}");
}

/// Whether a program such as `ffmpeg` is on the PATH; says that the test is skipped if not.
pub fn have_program(name: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(format!("{name}{EXE_SUFFIX}")).is_file());
    if !found {
        skip(&format!("there is no {name} on the PATH"));
    }
    found
}
