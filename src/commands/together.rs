//! Work in several processes, which are started here or by a launcher.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use segtool::base::Error;
use segtool::nn::device::{DeviceChoice, gpus};
use segtool::nn::group::{Group, MeetingPlace, Membership, threads_each, use_threads};
use segtool::predict::Shard;

use super::stop::Stop;
use crate::cli::{Devices, Together};
use crate::program::exit::{Exit, wrong_usage};
use crate::program::{flags, ui};

/// Interval between two checks of the processes.
const TURN: Duration = Duration::from_millis(50);
/// How long the others may take to end by themselves after one has failed, and again after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(25);
/// Variable that names the file in which torchrun looks for an error.
const ERROR_FILE: &str = "TORCHELASTIC_ERROR_FILE";

/// This process as a member of its group.
pub(super) struct Member {
    pub(super) group: Group,
    pub(super) membership: Membership,
}

impl Member {
    /// Whether this process reports for all of them.
    pub(super) fn leads(&self) -> bool {
        self.group.leads()
    }

    /// The run that an earlier attempt of this job has begun, which is to be resumed.
    pub(super) fn begun(&self) -> Option<PathBuf> {
        if self.membership.restarts > 0 { self.group.begun() } else { None }
    }
}

/// What the failure of a process means for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnFailure {
    /// They cannot go on without it.
    EndAll,
    /// Each completes its own share.
    GoOn,
}

/// The role of this process in a command that several GPUs work on, each with its own images.
pub(super) enum Place {
    /// It starts this number of processes.
    Starts(usize),
    /// It is one of them, or the only one.
    One {
        /// Its share of the images.
        shard: Option<Shard>,
        device: DeviceChoice,
    },
}

/// The role of this process among those that work on these GPUs.
pub(super) fn place(devices: &Devices) -> Result<Place> {
    let count = count_of(devices)?;
    let membership = Membership::from_environment()?;
    let shard = match &membership {
        None if count > 1 => {
            // Before each of the processes says that there is none.
            DeviceChoice::LibtorchCuda(0).resolve()?;
            return Ok(Place::Starts(count));
        }
        None => None,
        Some(membership) => {
            share_threads(threads_each(membership.local_size));
            if membership.rank > 0 {
                ui::be_quiet();
            }
            Some(Shard::new(membership.rank + 1, membership.size)?)
        }
    };
    Ok(Place::One { shard, device: device(None, Some(devices), membership.as_ref()) })
}

/// Trains as one of several processes if a launcher has started this one, starts several if asked to, or else trains
/// alone.
pub(super) fn run(options: &Together, train: impl FnOnce(Option<&Member>) -> Result<Exit>) -> Result<Exit> {
    let Some(membership) = Membership::from_environment()? else {
        if options.collectives.is_some() && options.devices.is_none() && options.processes.is_none() {
            wrong_usage!(
                "--collectives applies only to several processes; add --devices or --processes, or leave it out"
            );
        }
        let count = options.devices.as_ref().map_or(Ok(options.processes.unwrap_or(1)), count_of)?;
        return if count > 1 { launch(count, OnFailure::EndAll) } else { train(None) };
    };
    let threads = threads_each(membership.local_size);
    as_member(membership, threads, |member| train(Some(member)))
}

/// Runs `work` in a process with this number of threads, as one of several that all end when one fails.
pub(super) fn as_member(
    membership: Membership,
    threads: usize,
    work: impl FnOnce(&Member) -> Result<Exit>,
) -> Result<Exit> {
    share_threads(threads);
    if membership.rank > 0 {
        ui::be_quiet();
    }
    let (rank, size) = (membership.rank, membership.size);
    let group = Group::join(&membership)?;
    use_threads(threads);
    let member = Member { group, membership };
    let result = work(&member);
    let result = match result {
        Ok(exit) => member.group.leave(None).map(|()| exit).map_err(anyhow::Error::from),
        Err(error) => {
            let text = flags::error_text(&error);
            let heard = matches!(error.downcast_ref(), Some(Error::Process(_)));
            if !heard {
                tell_torchrun(&text);
            }
            // This process has failed already; its own error is returned.
            let _ = member.group.leave(Some(&text));
            Err(error)
        }
    };
    result.with_context(|| format!("process {rank} of {size}"))
}

/// Limits the threads of this process, as all processes on the machine share its cores and memory.
pub(super) fn share_threads(threads: usize) {
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        // If the pool exists already, it keeps its size.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
}

/// How many processes to start on this machine for these GPUs.
pub(super) fn count_of(devices: &Devices) -> Result<usize> {
    match devices {
        Devices::All => match gpus() {
            0 => wrong_usage!("--devices all: libtorch finds no CUDA GPU; leave it out to use the CPU"),
            count => Ok(count),
        },
        Devices::Numbers(numbers) => Ok(numbers.len()),
    }
}

/// The device of a process: on one machine, each process uses a different GPU.
pub(super) fn device(
    asked: Option<DeviceChoice>,
    devices: Option<&Devices>,
    membership: Option<&Membership>,
) -> DeviceChoice {
    let place = membership.map_or(0, |membership| membership.local_rank);
    match (asked, devices) {
        (_, Some(Devices::Numbers(numbers))) => DeviceChoice::LibtorchCuda(numbers[place.min(numbers.len() - 1)]),
        (_, Some(Devices::All)) => DeviceChoice::LibtorchCuda(place),
        (Some(DeviceChoice::Gpu), None) if membership.is_some() => DeviceChoice::LibtorchCuda(place),
        (None | Some(DeviceChoice::Auto), None) if membership.is_some() && gpus() > 0 => {
            DeviceChoice::LibtorchCuda(place)
        }
        (asked, None) => asked.unwrap_or_default(),
    }
}

/// Refuses several processes on a device that all of them would share.
pub(super) fn check_device(device: DeviceChoice, processes: usize) -> Result<()> {
    if processes > 1 && matches!(device, DeviceChoice::Vulkan(_) | DeviceChoice::Metal(_)) {
        wrong_usage!(
            "{processes} processes cannot compute on {device}, because all would share that one GPU; use one process, or \
             NVIDIA GPUs with --devices, or the CPU with --processes and --device cpu"
        );
    }
    Ok(())
}

/// Writes the error that torchrun's summary shows of a failed process.
fn tell_torchrun(text: &str) {
    let Some(path) = std::env::var_os(ERROR_FILE) else { return };
    let info = serde_json::json!({ "py_callstack": text, "timestamp": "0" });
    let report = serde_json::json!({ "message": { "message": text, "extraInfo": info } });
    // The error is printed on standard error in any case.
    let _ = std::fs::write(path, report.to_string());
}

/// Starts this command in `count` processes and waits for them.
pub(super) fn launch(count: usize, on_failure: OnFailure) -> Result<Exit> {
    let stop = Stop::announcing("stopping the processes as soon as everything is saved")?;
    let exit = Children::start(count, &[], Stdio::inherit())?.wait(on_failure, Some(&stop))?;
    // After a signal, the exit code is that of the signal.
    Ok(if matches!(exit, Exit::Done | Exit::SomeSkipped) { stop.exit().unwrap_or(exit) } else { exit })
}

/// Starts this command with further arguments in `count` processes and waits for them. Also returns what process 0
/// printed.
pub(super) fn launch_and_read(count: usize, more: &[String]) -> Result<(Exit, String)> {
    let mut children = Children::start(count, more, Stdio::piped())?;
    let output = children.children[0].stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        output.map_or(Ok(0), |mut output| output.read_to_string(&mut text)).map(|_| text)
    });
    let exit = children.wait(OnFailure::EndAll, None)?;
    let text = reader.join().ok().and_then(Result::ok).context("cannot read what process 0 printed")?;
    Ok((exit, text))
}

/// Child processes; none outlives this value.
struct Children {
    children: Vec<Child>,
    /// Where they find one another.
    place: Option<MeetingPlace>,
}

impl Children {
    /// Starts this command with further arguments in `count` processes, the first of which prints to `output`.
    fn start(count: usize, more: &[String], output: Stdio) -> Result<Self> {
        // A single one has nobody to find.
        let place = (count > 1).then(MeetingPlace::open).transpose()?;
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut output = Some(output);
        let mut children = Self { children: Vec::new(), place };
        for rank in 0..count {
            let mut command = Command::new(&program);
            command.args(std::env::args_os().skip(1)).args(more);
            let place = children.place.iter();
            command.envs(place.flat_map(|place| place.membership(rank, count).variables()));
            command.stdout(output.take().unwrap_or_else(Stdio::inherit));
            ends_with_parent(&mut command);
            children.children.push(command.spawn().with_context(|| format!("cannot start process {rank} of {count}"))?);
        }
        Ok(children)
    }

    /// Waits until all have ended. Returns how the command ends: as the first process that failed, or by [`exit_of_shares`].
    fn wait(&mut self, on_failure: OnFailure, stop: Option<&Stop>) -> Result<Exit> {
        let size = self.children.len();
        let mut failed: Option<(Exit, Instant)> = None;
        let mut exits: Vec<Option<Exit>> = vec![None; size];
        let mut told = false;
        while exits.contains(&None) {
            for (rank, child) in
                self.children.iter_mut().enumerate().filter(|(rank, _)| exits[*rank].is_none()).collect::<Vec<_>>()
            {
                let Some(status) = child.try_wait().context("cannot wait for a process")? else { continue };
                let exit = exit_of(status);
                exits[rank] = Some(exit);
                if failed.is_some() {
                    continue;
                }
                if status.code().is_none() {
                    ui::warn(&format!("error: process {rank} of {size} ended: {status}"));
                }
                if exit != Exit::Done && on_failure == OnFailure::EndAll {
                    failed = Some((exit, Instant::now()));
                }
            }
            if stop.is_some_and(|stop| stop.flag().load(Ordering::Relaxed)) && !std::mem::replace(&mut told, true) {
                // In a terminal, all processes have received the signal; sent from elsewhere, only this one has.
                self.children
                    .iter()
                    .zip(&exits)
                    .filter(|(_, exit)| exit.is_none())
                    .for_each(|(child, _)| terminate(child));
            }
            if let Some((_, since)) = failed {
                for (child, _) in self.children.iter_mut().zip(&exits).filter(|(_, exit)| exit.is_none()) {
                    match since.elapsed() {
                        time if time > 2 * PATIENCE => drop(child.kill()),
                        time if time > PATIENCE => terminate(child),
                        _ => {}
                    }
                }
            }
            std::thread::sleep(TURN);
        }
        Ok(match (on_failure, failed) {
            (OnFailure::EndAll, failed) => failed.map_or(Exit::Done, |(exit, _)| exit),
            (OnFailure::GoOn, _) => exit_of_shares(&exits.into_iter().flatten().collect::<Vec<_>>()),
        })
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.children {
            if matches!(child.try_wait(), Ok(None)) {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    [Exit::Done, Exit::WrongUsage, Exit::SomeSkipped, Exit::HungUp, Exit::Interrupted, Exit::Terminated]
        .into_iter()
        .find(|exit| status.code() == Some(*exit as i32))
        .unwrap_or(Exit::Failed)
}

/// How a command ends whose processes each have a share of the images: it has failed if all have, and images are skipped
/// if one has.
fn exit_of_shares(exits: &[Exit]) -> Exit {
    let Some(first) = exits.iter().copied().find(|exit| *exit != Exit::Done) else { return Exit::Done };
    let all_failed = exits.iter().all(|exit| !matches!(exit, Exit::Done | Exit::SomeSkipped));
    if all_failed { first } else { Exit::SomeSkipped }
}

#[cfg(unix)]
#[allow(unsafe_code)] // a system call without pointers
fn terminate(child: &Child) {
    // SAFETY: the child has not been reaped yet, so its process ID is still its own.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
}

#[cfg(not(unix))]
fn terminate(_: &Child) {}

/// Ends the process with its parent: as an orphan, it would keep its GPU occupied.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fail_together_only_if_each_fails() {
        for (exits, whole) in [
            (&[Exit::Done, Exit::Done][..], Exit::Done),
            (&[Exit::Done, Exit::SomeSkipped], Exit::SomeSkipped),
            (&[Exit::Failed, Exit::Done], Exit::SomeSkipped),
            (&[Exit::Failed, Exit::SomeSkipped], Exit::SomeSkipped),
            (&[Exit::Failed, Exit::Failed], Exit::Failed),
            (&[Exit::WrongUsage, Exit::WrongUsage], Exit::WrongUsage),
            (&[Exit::Terminated, Exit::Terminated], Exit::Terminated),
        ] {
            assert_eq!(exit_of_shares(exits), whole, "{exits:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn one_that_fails_ends_the_others_only_if_they_depend_on_it() {
        let ended = |on_failure: OnFailure, scripts: [&str; 2]| {
            let child = |script: &str| Command::new("sh").args(["-c", script]).spawn().unwrap();
            let mut children = Children { children: scripts.map(child).into(), place: None };
            children.wait(on_failure, None).unwrap()
        };
        for (first, together, apart) in
            [("exit 0", Exit::Done, Exit::Done), ("exit 1", Exit::Failed, Exit::SomeSkipped)]
        {
            assert_eq!(ended(OnFailure::EndAll, [first, "sleep 0.2"]), together);
            assert_eq!(ended(OnFailure::GoOn, [first, "sleep 0.2"]), apart);
        }
        // Killed, as by the system when memory is short.
        assert_eq!(ended(OnFailure::GoOn, ["kill -9 $$", "exit 0"]), Exit::SomeSkipped);
        assert_eq!(ended(OnFailure::GoOn, ["exit 3", "sleep 0.2; exit 3"]), Exit::SomeSkipped);
    }
}
