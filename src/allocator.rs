//! Makes the C library give large blocks of memory back to the system when they are freed.
//!
//! glibc raises its threshold for large blocks when it frees some, up to 32 MiB. From then on it keeps such blocks
//! for itself: a process that has held the replies of slow clients once would look as large for ever. A fixed
//! threshold turns that off. glibc reads it from the environment before `main`, so the program replaces itself once.

use std::ffi::OsStr;

/// The variable of glibc (mallopt(3), `M_MMAP_THRESHOLD`), and its own default in bytes.
const THRESHOLD: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "131072");

/// Replaces the process by the same program with a fixed threshold, unless there is one. The process id, the
/// arguments, the rest of the environment and open files stay. Returns if nothing has to be done, or if it fails.
pub(crate) fn fix_threshold() {
    let (name, value) = THRESHOLD;
    let tuned = std::env::var_os("GLIBC_TUNABLES");
    if std::env::var_os(name).is_some() || tuned.is_some_and(|tunables| is_set_in(&tunables)) {
        return;
    }
    replace_self(name, value);
}

fn is_set_in(tunables: &OsStr) -> bool {
    tunables.to_string_lossy().contains("mmap_threshold")
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn replace_self(name: &str, value: &str) {
    use std::os::unix::process::CommandExt as _;
    let mut arguments = std::env::args_os();
    let (Some(own_name), Ok(program)) = (arguments.next(), std::env::current_exe()) else {
        return;
    };
    // Returns only if the program cannot be replaced: then large blocks are kept, and all else works.
    let error = std::process::Command::new(program)
        .arg0(own_name)
        .args(arguments)
        .env(name, value)
        .exec();
    tracing::debug!(%error, "the program cannot set {name}: freed memory may stay with the process");
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn replace_self(_: &str, _: &str) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_of_the_operator_is_kept() {
        assert!(is_set_in(OsStr::new("glibc.malloc.mmap_threshold=65536")));
        assert!(!is_set_in(OsStr::new("glibc.malloc.arena_max=2")));
    }
}
