//! Main memory that this process may still take, as Linux says it below /proc and /sys.
//!
//! Each of these is a limit, and the least counts: what the machine has left; what each control group of the process has
//! left, its own and those above it, in versions 1 and 2; what `ulimit -v` and `ulimit -d` leave.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that this process may still take; `None` where the system does not say.
pub(crate) fn free() -> Option<u64> {
    free_below(Path::new("/"))
}

/// The same of a process that sees this root of the file system.
fn free_below(root: &Path) -> Option<u64> {
    let proc = root.join("proc");
    let machine = machine(&proc)?;
    let limits = process_limits(&proc).into_iter().chain(groups(root));
    Some(limits.fold(machine, u64::min))
}

/// What the machine has left. Where it promises no more than it has, also what it may still promise.
fn machine(proc: &Path) -> Option<u64> {
    let text = fs::read_to_string(proc.join("meminfo")).ok()?;
    let of = |key: &str| kibibytes(&text, key);
    let available = of("MemAvailable:")?;
    let is_strict = number(&proc.join("sys/vm/overcommit_memory")) == Some(2);
    match of("CommitLimit:").zip(of("Committed_AS:")) {
        Some((limit, promised)) if is_strict => Some(available.min(limit.saturating_sub(promised))),
        _ => Some(available),
    }
}

/// What the process's own limits leave: of addresses, and of data.
fn process_limits(proc: &Path) -> Vec<u64> {
    let read = |name: &str| fs::read_to_string(proc.join("self").join(name)).unwrap_or_default();
    let (limits, status) = (read("limits"), read("status"));
    let left = |limit: &str, held: &str| {
        let most: u64 = after(&limits, limit)?.parse().ok()?;
        Some(most.saturating_sub(kibibytes(&status, held).unwrap_or(0)))
    };
    [left("Max address space", "VmSize:"), left("Max data size", "VmData:")].into_iter().flatten().collect()
}

/// What the control groups of the process leave, its own and those above.
fn groups(root: &Path) -> Vec<u64> {
    let read = |name: &str| fs::read_to_string(root.join("proc/self").join(name)).unwrap_or_default();
    let (own, mounts) = (read("cgroup"), read("mountinfo"));
    let left = |version: Version| {
        version.folders(root, &own, &mounts).into_iter().filter_map(move |folder| version.left(&folder))
    };
    [Version::One, Version::Two].into_iter().flat_map(left).collect()
}

/// Versions of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// The folders of the process's groups, from the inside out. `own` is /proc/self/cgroup, `mounts` /proc/self/mountinfo.
    fn folders(self, root: &Path, own: &str, mounts: &str) -> Vec<PathBuf> {
        let place = self.path_of(own).and_then(|path| self.place(root, path, mounts));
        place.map_or_else(Vec::new, |(inside, mount)| inside.ancestors().map(|inside| mount.join(inside)).collect())
    }

    /// The group of the process: of `4:memory:/a/b` in version 1, of `0::/a/b` in version 2.
    fn path_of(self, own: &str) -> Option<&str> {
        own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_it = match self {
                Self::One => controllers.split(',').any(|controller| controller == "memory"),
                Self::Two => controllers.is_empty(),
            };
            is_it.then_some(path)
        })
    }

    /// The group's path within the mounted hierarchy, and where that is mounted. A container may see its own group as the
    /// root of what is mounted, whatever the group is called outside.
    fn place(self, root: &Path, path: &str, mounts: &str) -> Option<(PathBuf, PathBuf)> {
        let (shown, point) = mounts.lines().find_map(|line| {
            let (fields, kind) = line.split_once(" - ")?;
            let mut kind = kind.split(' ');
            let is_it = match (self, kind.next()?) {
                (Self::One, "cgroup") => kind.nth(1)?.split(',').any(|option| option == "memory"),
                (Self::Two, "cgroup2") => true,
                _ => false,
            };
            let mut fields = fields.split(' ').skip(3);
            if is_it { Some((fields.next()?, fields.next()?)) } else { None }
        })?;
        let inside = Path::new(path).strip_prefix(shown).ok().filter(|inside| !inside.starts_with(".."));
        Some((inside.unwrap_or(Path::new("")).into(), root.join(unescaped(point).trim_start_matches('/'))))
    }

    /// What a group leaves. Files that the system keeps in memory count as held there, and are given up when it is needed.
    fn left(self, folder: &Path) -> Option<u64> {
        let (limits, held, cached): (&[&str], _, _) = match self {
            Self::One => (&["memory.limit_in_bytes"], "memory.usage_in_bytes", "total_inactive_file "),
            Self::Two => (&["memory.max", "memory.high"], "memory.current", "inactive_file "),
        };
        let most = limits.iter().filter_map(|name| number(&folder.join(name))).min()?;
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(cached)?.trim().parse().ok()).unwrap_or(0);
        let held = number(&folder.join(held)).unwrap_or(0).saturating_sub(cached);
        Some(most.saturating_sub(held))
    }
}

/// A file that holds one number; `None` for `max`.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The first word after a key at the beginning of a line.
fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()
}

/// The number of bytes that a line `key 123 kB` gives.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    after(text, key)?.parse::<u64>().ok().map(|number| number.saturating_mul(1024))
}

/// Blanks in the names of mount points are written as numbers.
fn unescaped(point: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\134", "\\")]
        .iter()
        .fold(point.into(), |text: String, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A root of a file system with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let usual = [(
            "proc/meminfo",
            "MemTotal: 9 kB\nMemAvailable: 8388608 kB\nCommitLimit: 5242880 kB\nCommitted_AS: 1048576 kB\n",
        )];
        for (name, text) in usual.iter().chain(files) {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn mebibytes(files: &[(&str, &str)]) -> u64 {
        free_below(root(files).path()).unwrap() / MIB
    }

    const SECOND: &str = "26 21 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const FIRST: &str = "30 29 0:9 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        34 30 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        35 30 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        41 30 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn without_groups_the_machine_counts() {
        assert_eq!(mebibytes(&[]), 8192);
        assert_eq!(mebibytes(&[("proc/sys/vm/overcommit_memory", "0\n")]), 8192);
        assert_eq!(mebibytes(&[("proc/sys/vm/overcommit_memory", "2\n")]), 4096);
        assert_eq!(free_below(tempfile::tempdir().unwrap().path()), None);
    }

    #[test]
    fn the_least_of_nested_groups_counts() {
        let job = "sys/fs/cgroup/system.slice/job.scope";
        let [max, high, current, stat] = ["max", "high", "current", "stat"].map(|name| format!("{job}/memory.{name}"));
        let base = [
            ("proc/self/cgroup", "0::/system.slice/job.scope\n"),
            ("proc/self/mountinfo", SECOND),
            (&*current, "1073741824\n"),
            (&*stat, "anon 1\ninactive_anon 7\ninactive_file 536870912\n"),
        ];
        let with = |more: &[(&str, &str)]| mebibytes(&[&base[..], more].concat());
        assert_eq!(with(&[(&max, "max\n")]), 8192);
        // 1.5 GiB less the half GiB that is not cached.
        assert_eq!(with(&[(&max, "1610612736\n")]), 1024);
        assert_eq!(with(&[(&max, "1610612736\n"), (&high, "1073741824\n")]), 512);
        let above = [
            ("sys/fs/cgroup/system.slice/memory.max", "2147483648\n"),
            ("sys/fs/cgroup/system.slice/memory.current", "2042626048\n"),
        ];
        assert_eq!(with(&[&[(&*max, "1610612736\n")], &above[..]].concat()), 100);
        // More is held than may be.
        assert_eq!(with(&[(&max, "1\n")]), 0);
    }

    #[test]
    fn groups_of_version_1_count_too() {
        let own = ("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/slurm/job\n0::/\n");
        let unlimited = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let job = [
            ("sys/fs/cgroup/memory/slurm/job/memory.limit_in_bytes", "1572864000\n"),
            ("sys/fs/cgroup/memory/slurm/job/memory.usage_in_bytes", "524288000\n"),
            ("sys/fs/cgroup/memory/slurm/job/memory.stat", "inactive_file 5\ntotal_inactive_file 104857600\n"),
        ];
        let base = [own, ("proc/self/mountinfo", FIRST), unlimited];
        assert_eq!(mebibytes(&base), 8192);
        assert_eq!(mebibytes(&[&base[..], &job].concat()), 1100);
        let above = [("sys/fs/cgroup/memory/slurm/memory.limit_in_bytes", "314572800\n")];
        assert_eq!(mebibytes(&[&base[..], &job, &above].concat()), 300);
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root() {
        // Docker without a namespace of its own for groups.
        let mounts = "35 30 0:32 /docker/0a1b /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let limit = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600\n");
        for path in ["4:memory:/docker/0a1b\n", "4:memory:/\n", "4:memory:/../other\n"] {
            assert_eq!(mebibytes(&[("proc/self/cgroup", path), ("proc/self/mountinfo", mounts), limit]), 100, "{path}");
        }
        let inside = ("sys/fs/cgroup/memory/step/memory.limit_in_bytes", "10485760\n");
        let own = ("proc/self/cgroup", "4:memory:/docker/0a1b/step\n");
        assert_eq!(mebibytes(&[own, ("proc/self/mountinfo", mounts), limit, inside]), 10);
        let blank = "26 21 0:22 / /sys/my\\040groups rw - cgroup2 cgroup2 rw\n";
        let files = [
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", blank),
            ("sys/my groups/memory.max", "20971520\n"),
        ];
        assert_eq!(mebibytes(&files), 20);
    }

    #[test]
    fn limits_of_the_process_count() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max data size             unlimited            unlimited            bytes     \n\
            Max address space         4294967296           unlimited            bytes     \n";
        let status = "Name:\tsegtool\nVmSize:\t 1048576 kB\nVmData:\t  524288 kB\n";
        let with = |limits: &str| mebibytes(&[("proc/self/limits", limits), ("proc/self/status", status)]);
        assert_eq!(with(limits), 3072);
        assert_eq!(with(&limits.replace("unlimited            unlimited ", "1073741824           unlimited ")), 512);
        assert_eq!(with(&limits.replace("4294967296", "unlimited ")), 8192);
    }

    #[test]
    fn this_machine_says_something_where_it_is_linux() {
        assert_eq!(free_below(Path::new("/")).is_some(), cfg!(target_os = "linux"));
    }
}
