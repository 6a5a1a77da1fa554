//! Connections between the GPUs of a group, beside those between its processes.

use std::fmt;

use super::Group;
use crate::base::named_enum::named_enum;
use crate::base::{Error, Result};

/// The library that exchanges gradients between processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Collectives {
    /// NCCL if each process has an NVIDIA GPU to itself and NCCL works there, else Gloo.
    #[default]
    Auto,
    /// NCCL: between the GPUs directly.
    Nccl,
    /// Gloo: through main memory.
    Gloo,
}

named_enum!(Collectives, "library of collectives", "auto" => Auto, "nccl" => Nccl, "gloo" => Gloo);

/// How the processes of a group exchange gradients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// Between the GPUs directly, by this version of NCCL.
    Nccl(String),
    /// Through main memory, by Gloo.
    Gloo {
        /// Why not by NCCL, if they have GPUs.
        reason: Option<String>,
    },
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nccl(version) => write!(f, "gradients are exchanged between the GPUs by NCCL {version}"),
            Self::Gloo { reason: None } => f.write_str("gradients are exchanged through main memory by Gloo"),
            Self::Gloo { reason: Some(reason) } => {
                write!(f, "gradients are exchanged through main memory by Gloo; NCCL cannot be used: {reason}")
            }
        }
    }
}

impl Group {
    /// Connects the processes' GPUs by NCCL if `wanted` allows it. All processes call this with the same `wanted`, each
    /// with the number of its GPU, or `None` on the CPU; what is returned is the same in all.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if NCCL is wanted and cannot be used; [`Error::Process`] if another process fails.
    pub fn connect_gpus(&self, gpu: Option<usize>, wanted: Collectives) -> Result<Exchange> {
        let without = self.first_words(gpu.is_none().then(|| "it has no NVIDIA GPU".to_owned()));
        self.check()?;
        let connected = match (wanted, without) {
            (Collectives::Gloo, _) | (Collectives::Auto, Some(_)) => return Ok(Exchange::Gloo { reason: None }),
            (Collectives::Nccl, Some((rank, words))) => Err(format!("process {rank}: {words}")),
            (_, None) => self.connect_by_nccl(gpu),
        };
        self.check()?;
        match connected {
            Ok(version) => Ok(Exchange::Nccl(version)),
            Err(reason) if wanted == Collectives::Nccl => {
                Err(Error::conflict("collectives", format!("cannot be nccl: {reason}; use auto, or gloo")))
            }
            Err(reason) => Ok(Exchange::Gloo { reason: Some(reason) }),
        }
    }

    #[cfg(not(feature = "libtorch"))]
    fn connect_by_nccl(&self, _gpu: Option<usize>) -> Result<String, String> {
        Err("segtool is built without libtorch".into())
    }
}

#[cfg(feature = "libtorch")]
mod connected {
    use super::Group;
    use crate::base::locked;
    use crate::nn::group::nccl::{Communicator, Functions, UniqueId, fail};

    impl Group {
        pub(super) fn connect_by_nccl(&self, gpu: Option<usize>) -> Result<String, String> {
            self.connect_by(Functions::find(), gpu)
        }

        /// Connects by these functions; returns their version. All processes succeed, or none.
        pub(in crate::nn) fn connect_by(
            &self,
            functions: Result<Functions, String>,
            gpu: Option<usize>,
        ) -> Result<String, String> {
            let (place, failure) = ([self.rank(), self.size()], &self.0.failure);
            let functions = self.all(functions)?;
            let own = if self.leads() { functions.unique_id().map(UniqueId::to_bytes) } else { Ok(Vec::new()) };
            let id = self.broadcast_bytes(self.all(own)?, 0);
            let id = UniqueId::from_bytes(&id).ok_or("the processes lost one another");
            let connected =
                id.map_err(str::to_owned).and_then(|id| Communicator::connect(&functions, id, place, gpu, failure));
            let own = connected.clone().ok();
            let tried = self.all(connected).and_then(|gpus| self.all(gpus.try_out(place, gpu, failure)).map(|()| gpus));
            match tried {
                Ok(gpus) => {
                    gpus.rely_on_it();
                    // A communicator from an earlier call stays, and serves as well.
                    if let Err(gpus) = self.0.gpus.set(gpus) {
                        gpus.close();
                    }
                    Ok(functions.version())
                }
                Err(words) => {
                    own.iter().for_each(Communicator::abort);
                    Err(words)
                }
            }
        }

        /// `result` if all processes succeeded, or the words of the first that did not.
        fn all<T>(&self, result: Result<T, String>) -> Result<T, String> {
            let (value, words) = match result {
                Ok(value) => (Some(value), None),
                Err(words) => (None, Some(words)),
            };
            match self.first_words(words) {
                Some((rank, words)) => Err(format!("process {rank}: {words}")),
                None => value.ok_or_else(|| "the processes lost one another".into()),
            }
        }

        /// All-reduces (sums) contiguous tensors on this process's device, in place. The work is queued on the GPU, and nothing
        /// waits for it. Returns whether the GPUs are connected; otherwise, the tensors are left as they are.
        pub(in crate::nn) fn sum_on_gpus(&self, tensors: &[tch::Tensor]) -> bool {
            let Some(gpus) = self.0.gpus.get() else { return false };
            if let Err(words) = gpus.sum(tensors) {
                fail(&self.0.failure, &words);
            }
            let bytes = tensors.iter().map(|tensor| tensor.numel() * tensor.kind().elt_size_in_bytes()).sum::<usize>();
            locked(&self.0.spent).bytes += bytes as u64;
            true
        }
    }
}
