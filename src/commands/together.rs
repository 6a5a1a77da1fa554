//! Several processes that train together: started here, or by a launcher.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use segtool::base::Error;
use segtool::nn::device::{DeviceChoice, gpus};
use segtool::nn::group::{Group, Membership, threads_each};
use segtool::predict::Shard;

use super::stop::Stop;
use crate::cli::{Devices, Together};
use crate::program::exit::{Exit, wrong_usage};
use crate::program::{flags, ui};

/// Interval between two checks of the processes.
const TURN: Duration = Duration::from_millis(50);
/// How long the others may take to end by themselves when one has failed, and then when they are told to.
const PATIENCE: Duration = Duration::from_secs(25);
/// The file in which torchrun looks for what went wrong.
const ERROR_FILE: &str = "TORCHELASTIC_ERROR_FILE";

/// This process among those that train together.
pub(super) struct Member {
    pub(super) group: Group,
    pub(super) membership: Membership,
}

impl Member {
    /// Whether this process speaks for all of them.
    pub(super) fn leads(&self) -> bool {
        self.group.leads()
    }

    /// The run that a former attempt of this job has begun, which then goes on.
    pub(super) fn begun(&self) -> Option<PathBuf> {
        if self.membership.restarts > 0 { self.group.begun() } else { None }
    }
}

/// What becomes of a command that several GPUs work on, each on its own images.
pub(super) enum Place {
    /// It starts this number of processes.
    Starts(usize),
    /// It is one of them, or the only one.
    One {
        /// Its part of the images.
        shard: Option<Shard>,
        device: DeviceChoice,
    },
}

/// The place of this process among those that work on these GPUs.
pub(super) fn place(devices: &Devices) -> Result<Place> {
    let count = count_of(devices)?;
    let (shard, number) = match Membership::from_environment()? {
        None if count > 1 => return Ok(Place::Starts(count)),
        None => (None, 0),
        Some(membership) => {
            share_threads(&membership);
            if membership.rank > 0 {
                ui::be_quiet();
            }
            (Some(Shard::new(membership.rank + 1, membership.size)?), membership.local_rank)
        }
    };
    let device = match devices {
        Devices::All => number,
        Devices::Numbers(numbers) => numbers[number.min(numbers.len() - 1)],
    };
    Ok(Place::One { shard, device: DeviceChoice::LibtorchCuda(device) })
}

/// Runs a training as one of several processes if a launcher has started it so, starts several if that is asked for, or else
/// runs it alone.
pub(super) fn run(options: &Together, train: impl FnOnce(Option<&Member>) -> Result<Exit>) -> Result<Exit> {
    let Some(membership) = Membership::from_environment()? else {
        return match wanted(options)? {
            0 | 1 => train(None),
            count => launch(count),
        };
    };
    share_threads(&membership);
    if membership.rank > 0 {
        ui::be_quiet();
    }
    let (rank, size) = (membership.rank, membership.size);
    let group = Group::join(&membership)?;
    let member = Member { group, membership };
    let result = train(Some(&member));
    let result = match result {
        Ok(exit) => member.group.leave(None).map(|()| exit).map_err(anyhow::Error::from),
        Err(error) => {
            let text = flags::error_text(&error);
            let heard = matches!(error.downcast_ref(), Some(Error::Process(_)));
            if !heard {
                tell_torchrun(&text);
            }
            // It is this process that fails.
            let _ = member.group.leave(Some(&text));
            Err(error)
        }
    };
    result.with_context(|| format!("process {rank} of {size}"))
}

/// Cores and memory are for all processes of the machine.
fn share_threads(membership: &Membership) {
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        // Where the pool is there already, it stays as large as it is.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads_each(membership.local_size)).build_global();
    }
}

/// How many processes to start on this machine.
fn wanted(options: &Together) -> Result<usize> {
    options.devices.as_ref().map_or(Ok(options.processes.unwrap_or(1)), count_of)
}

fn count_of(devices: &Devices) -> Result<usize> {
    match devices {
        Devices::All => match gpus() {
            0 => wrong_usage!("--devices all: libtorch finds no CUDA GPU; leave it out to use the CPU"),
            count => Ok(count),
        },
        Devices::Numbers(numbers) => Ok(numbers.len()),
    }
}

/// The device of a process: on one machine, each process uses a different GPU.
pub(super) fn device(asked: Option<DeviceChoice>, options: &Together, member: Option<&Member>) -> DeviceChoice {
    let place = member.map_or(0, |member| member.membership.local_rank);
    match (asked, &options.devices) {
        (_, Some(Devices::Numbers(numbers))) => DeviceChoice::LibtorchCuda(numbers[place.min(numbers.len() - 1)]),
        (_, Some(Devices::All)) | (Some(DeviceChoice::Gpu), None) => DeviceChoice::LibtorchCuda(place),
        (None | Some(DeviceChoice::Auto), None) if member.is_some() && gpus() > 0 => DeviceChoice::LibtorchCuda(place),
        (asked, None) => asked.unwrap_or_default(),
    }
}

/// Says whether as many processes as are asked for can compute on the device that is asked for.
pub(super) fn check_processes(asked: Option<DeviceChoice>, options: &Together) -> Result<()> {
    let several = options.processes.is_some_and(|count| count > 1);
    asked.filter(|_| several).map_or(Ok(()), refuse_adapter)
}

/// Says whether a process among several can compute on this device.
pub(super) fn check_device(device: DeviceChoice, member: Option<&Member>) -> Result<()> {
    if member.is_some() { refuse_adapter(device) } else { Ok(()) }
}

fn refuse_adapter(device: DeviceChoice) -> Result<()> {
    if matches!(device, DeviceChoice::Vulkan(_) | DeviceChoice::Metal(_)) {
        wrong_usage!(
            "several processes cannot train on {device}: each would compute on that one GPU; train in one process, or on NVIDIA \
             GPUs with --devices, or on the CPU with --processes and --device cpu"
        );
    }
    Ok(())
}

/// What torchrun's summary shows of a process that failed.
fn tell_torchrun(text: &str) {
    let Some(path) = std::env::var_os(ERROR_FILE) else { return };
    let info = serde_json::json!({ "py_callstack": text, "timestamp": "0" });
    let report = serde_json::json!({ "message": { "message": text, "extraInfo": info } });
    // It is said on standard error all the same.
    let _ = std::fs::write(path, report.to_string());
}

/// Starts this command in `count` processes and waits for them.
pub(super) fn launch(count: usize) -> Result<Exit> {
    let stop = Stop::announcing("stopping the processes as soon as everything is saved")?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let port = port.context("cannot find a free port for the processes to meet at")?.port();
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut children = Children(Vec::new());
    for rank in 0..count {
        let membership = Membership {
            rank,
            size: count,
            local_rank: rank,
            local_size: count,
            host: Ipv4Addr::LOCALHOST.to_string(),
            port,
            launcher_serves: false,
            restarts: 0,
        };
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(1)).envs(membership.variables());
        ends_with_parent(&mut command);
        children.0.push(command.spawn().with_context(|| format!("cannot start process {rank} of {count}"))?);
    }
    let exit = children.wait(&stop)?;
    // What a signal has stopped ends as that says.
    Ok(if exit == Exit::Done { stop.exit().unwrap_or(exit) } else { exit })
}

/// Processes that were started here; none outlives this value.
struct Children(Vec<Child>);

impl Children {
    /// Until all have ended: the exit of the first that failed.
    fn wait(&mut self, stop: &Stop) -> Result<Exit> {
        let mut failed: Option<(usize, ExitStatus, Instant)> = None;
        let mut ended = vec![false; self.0.len()];
        let mut told = false;
        while ended.contains(&false) {
            for (rank, child) in self.0.iter_mut().enumerate().filter(|(rank, _)| !ended[*rank]).collect::<Vec<_>>() {
                let Some(status) = child.try_wait().context("cannot wait for a process")? else { continue };
                ended[rank] = true;
                if !status.success() && failed.is_none() {
                    failed = Some((rank, status, Instant::now()));
                }
            }
            if stop.flag().load(std::sync::atomic::Ordering::Relaxed) && !std::mem::replace(&mut told, true) {
                // In a terminal they have the signal already; from elsewhere only this process has.
                self.0.iter().zip(&ended).filter(|(_, ended)| !**ended).for_each(|(child, _)| terminate(child));
            }
            if let Some((_, _, since)) = failed {
                for (child, _) in self.0.iter_mut().zip(&ended).filter(|(_, ended)| !**ended) {
                    match since.elapsed() {
                        time if time > 2 * PATIENCE => drop(child.kill()),
                        time if time > PATIENCE => terminate(child),
                        _ => {}
                    }
                }
            }
            std::thread::sleep(TURN);
        }
        Ok(match failed {
            None => Exit::Done,
            Some((rank, status, _)) => {
                if status.code().is_none() {
                    ui::warn(&format!("error: process {rank} of {} ended: {status}", ended.len()));
                }
                exit_of(status)
            }
        })
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            if matches!(child.try_wait(), Ok(None)) {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    [Exit::WrongUsage, Exit::SomeSkipped, Exit::HungUp, Exit::Interrupted, Exit::Terminated]
        .into_iter()
        .find(|exit| status.code() == Some(*exit as i32))
        .unwrap_or(Exit::Failed)
}

#[cfg(unix)]
#[allow(unsafe_code)] // a system call without pointers
fn terminate(child: &Child) {
    // SAFETY: the child is not waited for yet, so its number is its own.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
}

#[cfg(not(unix))]
fn terminate(_: &Child) {}

/// Processes that go on without the one that started them would hold their GPUs.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // a system call between fork and exec
fn ends_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let die = || {
        // SAFETY: takes a number.
        let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
        if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(die) };
}

#[cfg(not(target_os = "linux"))]
fn ends_with_parent(_: &mut Command) {}
