//! Files, what may not stand in them, and the configuration (style.md).

use super::{code_lines, none, rust_files, sources};

const FILE_LINES_MAX: usize = 600;

#[test]
fn files_have_a_head_and_a_readable_length() {
    let mut findings = Vec::new();
    for (path, text) in ["src", "tests", "benches"].into_iter().flat_map(rust_files) {
        let lines = text.lines().count();
        if !text.starts_with("//! ") {
            findings.push(format!("{path}: no `//!` head"));
        }
        if lines > FILE_LINES_MAX && path.starts_with("src") {
            findings.push(format!("{path}: {lines} lines, more than {FILE_LINES_MAX}"));
        }
    }
    none("heads and lengths (style.md \"Files\")", &findings);
}

#[test]
fn nothing_unwraps_or_prints_outside_tests() {
    let mut findings = Vec::new();
    for source in sources() {
        for (n, line) in code_lines(&source.text) {
            for word in [".unwrap()", "println!(", "dbg!(", "todo!(", "unimplemented!(", "Utc::now", "SystemTime::now"]
            {
                let allowed = (source.path == "src/main.rs" && word == "println!(")
                    || (source.path == "src/clock.rs" && word == "Utc::now");
                if line.contains(word) && !allowed {
                    findings.push(format!("{}:{n}: {word}", source.path));
                }
            }
        }
    }
    none("forbidden outside tests", &findings);
}

#[test]
fn only_os_asks_which_system_it_is() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.module != "os") {
        for (n, line) in code_lines(&source.text) {
            for word in [
                "std::os::",
                "rustix::",
                "uapi::",
                "fs4::",
                "(unix",
                "(windows",
                "::unix",
                "::windows",
                "cfg(target",
                "cfg!(target",
                "env::consts",
            ] {
                if line.contains(word) {
                    findings.push(format!("{}:{n}: {word}", source.path));
                }
            }
        }
    }
    none("what a system does in its own way (src/os)", &findings);
}

#[test]
fn a_result_that_is_dropped_has_a_reason() {
    let mut findings = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let reasoned = n > 0 && lines[n - 1].trim_start().starts_with("//");
            if line.trim_start().starts_with("let _ =") && !reasoned {
                findings.push(format!("{}:{}: {}", source.path, n + 1, line.trim()));
            }
        }
    }
    none("`let _ =` needs a comment that says why", &findings);
}

#[test]
fn every_configuration_key_names_its_variable() {
    let mut section = String::new();
    let mut findings = Vec::new();
    for line in qingniao::config::DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = format!("{name}_");
        } else if let Some((key, rest)) = line.split_once(" = ").filter(|(key, _)| !key.starts_with('#')) {
            let variable = match key {
                "database_url" => "DATABASE_URL".to_owned(),
                key => format!("QINGNIAO_{}", format!("{section}{key}").to_uppercase()),
            };
            if !rest.contains(&format!("# {variable}")) {
                findings.push(format!("{section}{key}: the comment beside it names {variable}"));
            }
        }
    }
    none("config/default.toml", &findings);
}
