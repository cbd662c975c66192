//! The memory available to the process: the memory of the machine or the limit of its control
//! group, whichever is less.

use std::fmt;
use std::path::{Path, PathBuf};

/// Buffered bytes may use one part in this many of the memory.
const PART: u64 = 4;

/// The memory to assume if it cannot be determined, in bytes.
const UNKNOWN: u64 = 1 << 30;

/// The bound for buffered bytes, and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryBound {
    /// The bound in bytes.
    pub bytes: u64,
    /// The origin of the bound, as text for people.
    pub origin: String,
}

impl fmt::Display for MemoryBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes ({})", self.bytes, self.origin)
    }
}

/// Returns a quarter of the memory of the machine, or of the process's control group if that is
/// less.
pub fn default_bound() -> MemoryBound {
    bound_in(Path::new("/"))
}

fn bound_in(root: &Path) -> MemoryBound {
    let machine = machine(root).map(|bytes| (bytes, "the memory of the machine"));
    let group = group(root).map(|bytes| (bytes, "the memory limit of the control group"));
    let least = machine.into_iter().chain(group).min();
    match least {
        Some((bytes, what)) => MemoryBound {
            bytes: bytes / PART,
            origin: format!("a quarter of {what}"),
        },
        None => MemoryBound {
            bytes: UNKNOWN,
            origin: "the memory size of the machine is unknown".to_owned(),
        },
    }
}

fn machine(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes.saturating_mul(1024)).filter(|bytes| *bytes > 0)
}

/// Returns the lowest limit of the process's control groups, for versions 1 and 2.
fn group(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounted = root.join("sys/fs/cgroup");
    let limits = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        if controllers.is_empty() {
            least(&mounted, path, "memory.max")
        } else if controllers.split(',').any(|one| one == "memory") {
            least(&mounted.join("memory"), path, "memory.limit_in_bytes")
        } else {
            None
        }
    });
    limits.min()
}

/// Returns the lowest limit of a group and its ancestors. In a container the path is the host's
/// path, and only the root of the tree exists.
fn least(mounted: &Path, path: &str, file: &str) -> Option<u64> {
    let path = PathBuf::from(path.trim_start_matches('/'));
    let limits = path.ancestors().filter_map(|group| {
        let text = std::fs::read_to_string(mounted.join(group).join(file)).ok()?;
        // Version 2 has the text `max` if there is no limit.
        text.trim().parse().ok()
    });
    limits.filter(|bytes| *bytes > 0).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("meltemi-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const MACHINE: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:       16777216 kB\nMemFree: 1 kB\n",
    );

    #[test]
    fn a_machine_without_groups_gives_a_quarter() {
        let root = Root::new("machine", &[MACHINE]);
        let bound = bound_in(&root.0);
        assert_eq!(bound.bytes, 4 * GIB);
        assert_eq!(bound.origin, "a quarter of the memory of the machine");
    }

    #[test]
    fn the_least_limit_of_version_2_counts() {
        let root = Root::new(
            "v2",
            &[
                MACHINE,
                ("proc/self/cgroup", "0::/pods/one\n"),
                ("sys/fs/cgroup/pods/one/memory.max", "max\n"),
                ("sys/fs/cgroup/pods/memory.max", "2147483648\n"),
            ],
        );
        let bound = bound_in(&root.0);
        assert_eq!(bound.bytes, GIB / 2);
        assert!(bound.origin.contains("control group"), "{bound}");
    }

    #[test]
    fn a_container_of_version_1_sees_the_root_of_its_tree() {
        let root = Root::new(
            "v1",
            &[
                MACHINE,
                (
                    "proc/self/cgroup",
                    "9:cpu,cpuacct:/x\n4:memory:/docker/abc\n",
                ),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
            ],
        );
        assert_eq!(bound_in(&root.0).bytes, GIB / 4);
    }

    #[test]
    fn no_limit_of_version_1_is_more_than_the_machine_has() {
        let root = Root::new(
            "none",
            &[
                MACHINE,
                ("proc/self/cgroup", "4:memory:/\n"),
                (
                    "sys/fs/cgroup/memory/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
            ],
        );
        assert_eq!(bound_in(&root.0).bytes, 4 * GIB);
        let nothing = Root::new("nothing", &[]);
        assert_eq!(bound_in(&nothing.0).bytes, UNKNOWN);
    }
}
