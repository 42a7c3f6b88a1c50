//! Rebuilds the crate when a migration changes: `sqlx::migrate!` embeds the files at compile time.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
    // Cargo takes the same package in two worktrees for one, and with a shared target folder it would run the tests of the
    // one that was built last. The folder that it is called in tells them apart.
    println!("cargo:rerun-if-env-changed=PWD");
}
