//! The rank of this process and the size of its group, as set by its launcher.

use std::env;

use crate::base::{Error, Result};

/// The variables of `torchrun`, which Kubeflow's PyTorchJob and the program's own launcher set, too.
const TORCHRUN: Names =
    Names { rank: "RANK", size: "WORLD_SIZE", local_rank: "LOCAL_RANK", local_size: "LOCAL_WORLD_SIZE" };
/// Those of launchers that set ranks but no address for the processes to meet at.
const OTHERS: [Names; 3] = [
    Names {
        rank: "OMPI_COMM_WORLD_RANK",
        size: "OMPI_COMM_WORLD_SIZE",
        local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
        local_size: "OMPI_COMM_WORLD_LOCAL_SIZE",
    },
    Names { rank: "PMI_RANK", size: "PMI_SIZE", local_rank: "MPI_LOCALRANKID", local_size: "MPI_LOCALNRANKS" },
    Names {
        rank: "SLURM_PROCID",
        size: "SLURM_NTASKS",
        local_rank: "SLURM_LOCALID",
        local_size: "SLURM_NTASKS_PER_NODE",
    },
];
const HOST: &str = "MASTER_ADDR";
const PORT: &str = "MASTER_PORT";
const RESTARTS: &str = "TORCHELASTIC_RESTART_COUNT";
const AGENT_STORE: &str = "TORCHELASTIC_USE_AGENT_STORE";

struct Names {
    rank: &'static str,
    size: &'static str,
    local_rank: &'static str,
    local_size: &'static str,
}

/// Where to join a group, and with what rank.
#[cfg_attr(not(feature = "libtorch"), allow(dead_code))] // nothing joins without it
pub(super) struct Joining<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) serves: bool,
    pub(super) prefix: &'a str,
    pub(super) rank: usize,
    pub(super) size: usize,
    /// How long to wait for the others, here and later.
    pub(super) seconds: f64,
}

/// The place of this process in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Its rank, from 0.
    pub rank: usize,
    /// The number of processes.
    pub size: usize,
    /// Its rank among the processes of its machine.
    pub local_rank: usize,
    /// The number of processes on its machine.
    pub local_size: usize,
    /// The host on which process 0, or its launcher, serves the store through which all processes meet.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the launcher serves that store.
    pub launcher_serves: bool,
    /// How often the launcher has restarted the processes.
    pub restarts: usize,
}

impl Membership {
    /// Reads the launcher's environment variables; `None` for a single process.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] or [`Error::Conflict`] if a variable is missing although others are set, or has an invalid
    /// value.
    pub fn from_environment() -> Result<Option<Self>> {
        Self::from_variables(|name| env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&'static str) -> Option<String>) -> Result<Option<Self>> {
        let given = |names: &Names| variable(names.rank).zip(variable(names.size));
        // Slurm also sets these variables in batch jobs of a single process; only an address to meet at shows that
        // there are several.
        let others = || OTHERS.iter().filter(|_| variable(HOST).is_some()).find(|names| given(names).is_some());
        let Some(names) = given(&TORCHRUN).map(|_| &TORCHRUN).or_else(others) else {
            return match variable("OMPI_COMM_WORLD_SIZE").filter(|size| size.trim() != "1") {
                Some(size) => Err(Error::conflict(
                    HOST,
                    format!(
                        "is not set, but mpirun has started {size} processes: say where they meet, as in mpirun -x \
                         {HOST}=$(hostname) -x {PORT}=29500 segtool train ..."
                    ),
                )),
                None => Ok(None),
            };
        };
        let number = |name: &'static str| -> Result<Option<usize>> {
            let Some(text) = variable(name) else { return Ok(None) };
            let parsed = text.trim().parse();
            parsed.map(Some).map_err(|_| Error::invalid(name, format!("'{text}'"), "a whole number from 0 up"))
        };
        let (rank, size) = (number(names.rank)?.unwrap_or(0), number(names.size)?.unwrap_or(1));
        if size < 2 {
            return Ok(None);
        }
        if rank >= size {
            return Err(Error::invalid(names.rank, rank, format!("below {}, which is {size}", names.size)));
        }
        let missing = |name: &'static str| {
            Error::conflict(
                name,
                format!("is not set although {} = {size}: it says where the processes meet", names.size),
            )
        };
        let host = variable(HOST).filter(|host| !host.is_empty()).ok_or_else(|| missing(HOST))?;
        let text = variable(PORT).ok_or_else(|| missing(PORT))?;
        let port = text.trim().parse().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| Error::invalid(PORT, format!("'{text}'"), "a port, 1 to 65535"))?;
        let local_rank = number(names.local_rank)?.unwrap_or(0);
        // Slurm writes "4(x2)" for several machines, and sets nothing unless asked to: then the local rank gives a
        // lower bound.
        let local_size = variable(names.local_size).and_then(|text| text.split('(').next()?.trim().parse().ok());
        Ok(Some(Self {
            rank,
            size,
            local_rank,
            local_size: local_size.unwrap_or(local_rank + 1).clamp(local_rank + 1, size.max(local_rank + 1)),
            host,
            port,
            launcher_serves: variable(AGENT_STORE).is_some_and(|text| text == "True"),
            restarts: number(RESTARTS)?.unwrap_or(0),
        }))
    }

    /// The environment variables that give a new process this membership.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            (TORCHRUN.rank, self.rank.to_string()),
            (TORCHRUN.size, self.size.to_string()),
            (TORCHRUN.local_rank, self.local_rank.to_string()),
            (TORCHRUN.local_size, self.local_size.to_string()),
            (HOST, self.host.clone()),
            (PORT, self.port.to_string()),
            // Replace those that a launcher may have set for this process.
            (AGENT_STORE, if self.launcher_serves { "True" } else { "False" }.into()),
            (RESTARTS, self.restarts.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Membership>> {
        let find = |name: &'static str| variables.iter().find(|(known, _)| *known == name);
        Membership::from_variables(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn launchers_are_understood() {
        let meet = [("MASTER_ADDR", "a"), ("MASTER_PORT", "29500")];
        let with = |others: &[(&'static str, &'static str)]| read(&[&meet[..], others].concat()).unwrap();
        let torchrun = with(&[
            ("RANK", "5"),
            ("WORLD_SIZE", "8"),
            ("LOCAL_RANK", "1"),
            ("LOCAL_WORLD_SIZE", "4"),
            ("TORCHELASTIC_USE_AGENT_STORE", "True"),
            ("TORCHELASTIC_RESTART_COUNT", "2"),
        ])
        .unwrap();
        assert_eq!((torchrun.rank, torchrun.size, torchrun.local_rank, torchrun.local_size), (5, 8, 1, 4));
        assert_eq!((torchrun.host.as_str(), torchrun.port), ("a", 29_500));
        assert_eq!((torchrun.launcher_serves, torchrun.restarts), (true, 2));
        let job = with(&[("RANK", "1"), ("WORLD_SIZE", "2")]).unwrap();
        assert_eq!((job.rank, job.local_rank, job.local_size, job.launcher_serves), (1, 0, 1, false));
        let mpi = with(&[
            ("OMPI_COMM_WORLD_RANK", "3"),
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "3"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "4"),
        ])
        .unwrap();
        assert_eq!((mpi.rank, mpi.local_rank, mpi.local_size), (3, 3, 4));
        let slurm = with(&[
            ("SLURM_PROCID", "1"),
            ("SLURM_NTASKS", "4"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_NTASKS_PER_NODE", "2(x2)"),
        ])
        .unwrap();
        assert_eq!((slurm.rank, slurm.size, slurm.local_size), (1, 4, 2));
        let again: Vec<_> = torchrun.variables().into_iter().collect();
        let again: Vec<(&str, &str)> = again.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(read(&again).unwrap().unwrap(), torchrun);
    }

    #[test]
    fn a_process_on_its_own_is_none_of_several() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "a")]).unwrap(), None);
        // A step of a batch job.
        assert_eq!(read(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")]).unwrap(), None);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let two = [("RANK", "0"), ("WORLD_SIZE", "2")];
        assert_refused!(read(&two), "MASTER_ADDR");
        assert_refused!(read(&[&two[..], &[("MASTER_ADDR", "a")]].concat()), "MASTER_PORT");
        assert_refused!(read(&[&two[..], &[("MASTER_ADDR", "a"), ("MASTER_PORT", "0")]].concat()), "1 to 65535");
        let meet = [("MASTER_ADDR", "a"), ("MASTER_PORT", "1")];
        assert_refused!(read(&[&meet[..], &[("RANK", "2"), ("WORLD_SIZE", "2")]].concat()), "below WORLD_SIZE");
        assert_refused!(read(&[&meet[..], &[("RANK", "x"), ("WORLD_SIZE", "2")]].concat()), "RANK");
        assert_refused!(read(&[("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "2")]), "MASTER_ADDR");
    }
}
