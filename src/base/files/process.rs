//! Which process made a file, and whether it still runs.

use std::str::FromStr;
use std::sync::OnceLock;
use std::{fmt, fs};

/// A process, told from all others: numbers of processes are given again, but not together with a time of start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessId {
    /// Where its number counts: this start of the system, this container. 0 if that is not known.
    pub(crate) machine: u32,
    /// Its number.
    pub(crate) number: u32,
    /// When it began, in ticks since the system did.
    pub(crate) start: u64,
}

impl ProcessId {
    /// This process.
    pub(crate) fn own() -> Self {
        static OWN: OnceLock<ProcessId> = OnceLock::new();
        *OWN.get_or_init(|| {
            let number = std::process::id();
            Self { machine: machine(), number, start: running_since(number).unwrap_or(0) }
        })
    }

    /// Whether it still runs; `None` if that cannot be said from here.
    pub(crate) fn is_alive(self) -> Option<bool> {
        (self.machine != 0 && self.machine == Self::own().machine)
            .then(|| running_since(self.number) == Some(self.start))
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}-{}", self.machine, self.number, self.start)
    }
}

impl FromStr for ProcessId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(());
        let machine = u32::from_str_radix(next()?, 16).map_err(drop)?;
        let (number, start) = (next()?.parse().map_err(drop)?, next()?.parse().map_err(drop)?);
        if parts.next().is_some() { Err(()) } else { Ok(Self { machine, number, start }) }
    }
}

/// When a process began; `None` if there is none of that number, or only the remains of one that was killed.
fn running_since(number: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    // `starttime` is the 22nd field, and the state the 3rd.
    let start = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start)
}

fn machine() -> u32 {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    if boot.is_empty() {
        0
    } else {
        crc32c::crc32c_append(crc32c::crc32c(&boot), namespace.as_os_str().as_encoded_bytes())
    }
}

/// The name of this computer, or of this container.
pub(crate) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "this computer".into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_lives_until_it_is_killed_and_another_of_its_number_is_not_it() {
        let own = ProcessId::own();
        assert_eq!(own.is_alive(), Some(true));
        assert_eq!(own.to_string().parse(), Ok(own));
        assert_eq!(ProcessId { start: own.start + 1, ..own }.is_alive(), Some(false));
        assert_eq!(ProcessId { machine: own.machine ^ 1, ..own }.is_alive(), None);
        assert_eq!(ProcessId { machine: 0, ..own }.is_alive(), None);

        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let other = ProcessId { number: child.id(), start: running_since(child.id()).unwrap(), ..own };
        assert_eq!(other.is_alive(), Some(true));
        child.kill().unwrap();
        // Not waited for yet: what is left of it is no process that writes.
        while running_since(child.id()).is_some() {
            std::thread::yield_now();
        }
        assert_eq!(other.is_alive(), Some(false));
        child.wait().unwrap();
        assert_eq!(other.is_alive(), Some(false));
    }

    #[test]
    fn what_is_no_process_is_none() {
        for text in ["", "1-2", "1-2-3-4", "x-2-3", "1--3", "AbCdEf"] {
            assert_eq!(text.parse::<ProcessId>(), Err(()), "{text}");
        }
    }
}
