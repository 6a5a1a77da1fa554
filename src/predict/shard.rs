//! One of several equal parts of a set, so that many machines can work on it at once.

use std::fmt;

use crate::base::{Error, Result};

/// The `index`th of `count` parts: every `count`th input, from the `index`th on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 1 to `count`.
    index: usize,
    count: usize,
}

/// A scheduler's variables for the tasks of an array job.
struct Scheduler {
    name: &'static str,
    /// Number of the task.
    index: &'static str,
    /// The number of the first task, and the step between them; tasks count from 0 by one if left out.
    first_and_step: Option<[&'static str; 2]>,
    /// How many tasks there are.
    count: &'static str,
}

const SCHEDULERS: [Scheduler; 3] = [
    Scheduler {
        name: "Slurm",
        index: "SLURM_ARRAY_TASK_ID",
        first_and_step: Some(["SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"]),
        count: "SLURM_ARRAY_TASK_COUNT",
    },
    Scheduler {
        name: "AWS Batch",
        index: "AWS_BATCH_JOB_ARRAY_INDEX",
        first_and_step: None,
        count: "AWS_BATCH_JOB_ARRAY_SIZE",
    },
    // Kubernetes does not set a variable with the count, but a job may set this one.
    Scheduler { name: "Kubernetes", index: "JOB_COMPLETION_INDEX", first_and_step: None, count: "JOB_COMPLETIONS" },
];

impl Shard {
    /// The `index`th of `count` parts, from 1.
    ///
    /// # Errors
    ///
    /// If `index` is not from 1 to `count`.
    pub fn new(index: usize, count: usize) -> Result<Self> {
        if count == 0 || !(1..=count).contains(&index) {
            let expected = "I/N with I from 1 to N, as in 3/8, or auto or auto/N within an array job";
            return Err(Error::invalid("shard", format!("{index}/{count}"), expected));
        }
        Ok(Self { index, count })
    }

    /// `3/8`; `auto`, which is the task of the array job that this runs in, by the variables of Slurm, AWS Batch or
    /// Kubernetes; or `auto/8` where these do not say how many tasks there are. `variable` looks up a variable.
    pub fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let fault =
            || Error::invalid("shard", format!("'{text}'"), "I/N, as in 3/8, or auto or auto/N within an array job");
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| fault());
        match text.split_once('/') {
            None if text == "auto" => Self::of_task(None, &variable),
            Some(("auto", count)) => Self::of_task(Some(number(count)?), &variable),
            Some((index, count)) => Self::new(number(index)?, number(count)?),
            None => Err(fault()),
        }
    }

    fn of_task(count: Option<usize>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let Some(scheduler) = SCHEDULERS.iter().find(|scheduler| variable(scheduler.index).is_some()) else {
            let names = SCHEDULERS.map(|scheduler| scheduler.index).join(", ");
            return Err(Error::conflict("shard", format!("is auto, but none of {names} is set; give I/N, as in 3/8")));
        };
        let number = |name: &'static str| {
            let text = variable(name).filter(|text| !text.is_empty());
            let number = text.map(|text| text.trim().parse::<usize>().map_err(|_| text));
            number.transpose().map_err(|text| Error::invalid(name, format!("'{text}'"), "a whole number"))
        };
        let task = number(scheduler.index)?.unwrap_or(0);
        // Where the count is given, so is the array: of one that is submitted again for a few tasks, the variables tell those.
        let [first, step] = match scheduler.first_and_step.filter(|_| count.is_none()) {
            Some([first, step]) => [number(first)?.unwrap_or(0), number(step)?.unwrap_or(1).max(1)],
            None => [0, 1],
        };
        let Some(count) = count.or(number(scheduler.count)?) else {
            let reason = format!("is auto, but {} does not say how many tasks there are; give auto/N", scheduler.name);
            return Err(Error::conflict("shard", reason));
        };
        match task.checked_sub(first) {
            Some(above) if above % step == 0 && above / step < count => Self::new(above / step + 1, count),
            _ => {
                let last = first.saturating_add(step.saturating_mul(count.saturating_sub(1)));
                let steps = if step == 1 { String::new() } else { format!(", in steps of {step}") };
                let expected = format!("{first} to {last} for {count} tasks{steps}");
                Err(Error::invalid(scheduler.index, task, expected))
            }
        }
    }

    /// The variable of an array job that this runs in, if it is one.
    pub fn array_variable(variable: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
        SCHEDULERS.iter().map(|scheduler| scheduler.index).find(|name| variable(name).is_some())
    }

    /// Whether the input of that number, from 0, belongs to it.
    pub fn has(self, number: usize) -> bool {
        number % self.count == self.index - 1
    }
}

/// The name of a file of the folder's own in a store: shards do not write the same objects.
pub(super) fn own_name(name: &str, shard: Option<Shard>) -> String {
    match (shard, name.split_once('.')) {
        (Some(shard), Some((stem, ending))) => format!("{stem}-{}-of-{}.{ending}", shard.index, shard.count),
        _ => name.to_owned(),
    }
}

/// `shard 3 of 8`.
impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} of {}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, variables: &[(&str, &str)]) -> Result<Shard> {
        Shard::parse(text, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn shards_are_named_or_those_of_an_array_job() {
        let slurm = [
            ("SLURM_ARRAY_TASK_ID", "7"),
            ("SLURM_ARRAY_TASK_MIN", "1"),
            ("SLURM_ARRAY_TASK_STEP", "2"),
            ("SLURM_ARRAY_TASK_COUNT", "4"),
        ];
        let aws = [("AWS_BATCH_JOB_ARRAY_INDEX", "0"), ("AWS_BATCH_JOB_ARRAY_SIZE", "8")];
        let kubernetes = [("JOB_COMPLETION_INDEX", "4")];
        for (text, variables, index, count) in [
            ("3/8", &[][..], 3, 8),
            ("1/1", &slurm[..], 1, 1),
            ("auto", &slurm, 4, 4),
            ("auto/8", &slurm, 8, 8),
            ("auto", &aws, 1, 8),
            ("auto/5", &kubernetes, 5, 5),
        ] {
            assert_eq!(parsed(text, variables).unwrap(), Shard { index, count }, "{text}");
        }
        assert_eq!(
            Shard::array_variable(|name| (name == "JOB_COMPLETION_INDEX").then(String::new)),
            Some(kubernetes[0].0)
        );
        for (text, variables, words) in [
            ("0/8", &[][..], "`shard` is 0/8; it must be I/N with I from 1 to N"),
            ("9/8", &[], "from 1 to N"),
            ("8", &[], "`shard` is '8'; it must be I/N"),
            ("a/8", &[], "it must be I/N"),
            ("auto", &[], "none of SLURM_ARRAY_TASK_ID, AWS_BATCH_JOB_ARRAY_INDEX, JOB_COMPLETION_INDEX is set"),
            ("auto", &kubernetes, "Kubernetes does not say how many tasks there are; give auto/N"),
            ("auto/4", &kubernetes, "JOB_COMPLETION_INDEX` is 4; it must be 0 to 3 for 4 tasks"),
            ("auto", &[("SLURM_ARRAY_TASK_ID", "x")], "SLURM_ARRAY_TASK_ID` is 'x'; it must be a whole number"),
            (
                "auto",
                &[("SLURM_ARRAY_TASK_ID", "9"), ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_COUNT", "3")],
                "is 9; it must be 1 to 3 for 3 tasks",
            ),
            (
                "auto",
                &[
                    ("SLURM_ARRAY_TASK_ID", "3"),
                    ("SLURM_ARRAY_TASK_MIN", "0"),
                    ("SLURM_ARRAY_TASK_STEP", "2"),
                    ("SLURM_ARRAY_TASK_COUNT", "4"),
                ],
                "is 3; it must be 0 to 6 for 4 tasks, in steps of 2",
            ),
        ] {
            assert_refused!(parsed(text, variables), words);
        }
    }

    #[test]
    fn shards_share_a_set_out_evenly() {
        for count in 1..6 {
            let shards: Vec<Shard> = (1..=count).map(|index| Shard::new(index, count).unwrap()).collect();
            for number in 0..20 {
                assert_eq!(shards.iter().filter(|shard| shard.has(number)).count(), 1);
            }
            let sizes = shards.iter().map(|shard| (0..20).filter(|number| shard.has(*number)).count());
            assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
    }
}
