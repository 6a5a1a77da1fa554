//! A run that goes on for another number of epochs than it began with, where that changes nothing in the epochs that it
//! has behind it.

use std::path::Path;

use super::course::Position;
use crate::base::{Error, Result, require};
use crate::recipe::Training;

/// Sets the epochs, one number a phase, of a run that stands at `position`.
///
/// # Errors
///
/// [`Error::Invalid`] or [`Error::Conflict`] if the numbers do not go with the phases, or if the run would have gone otherwise so far: the
/// learning rate of a phase that has begun depends on its length, a phase is over, or has more epochs behind it.
pub(super) fn set_epochs(training: &mut Training, wanted: &[usize], position: &Position, run: &Path) -> Result<()> {
    let phases = training.resolved_phases();
    if wanted.len() != phases.len() {
        let expected = format!("one number for each phase, {} for {}", phases.len(), run.display());
        return Err(Error::invalid("epochs", format!("a list of {}", wanted.len()), expected));
    }
    require(!wanted.contains(&0), "epochs", 0, "at least 1 for each phase")?;
    let changed =
        |(i, (phase, epochs)): (usize, (&Training, &usize))| (*epochs != phase.epochs).then_some((i, *epochs));
    for (i, epochs) in phases.iter().zip(wanted).enumerate().filter_map(changed) {
        let Some(reason) = obstacle(&phases, i, epochs, position) else { continue };
        let what = if phases.len() == 1 { "the training".to_owned() } else { format!("phase {}", i + 1) };
        return Err(Error::conflict("epochs", format!("cannot be {epochs}: {what} {reason}; {}", anew(run))));
    }
    match &mut training.phases[..] {
        [] => training.epochs = wanted[0],
        phases => phases.iter_mut().zip(wanted).for_each(|(phase, epochs)| phase.epochs = *epochs),
    }
    Ok(())
}

/// Why a phase cannot have that number of epochs.
fn obstacle(phases: &[Training], i: usize, epochs: usize, position: &Position) -> Option<String> {
    let phase = &phases[i];
    let done = position.phase_epoch + usize::from(position.batch > 0);
    if i > position.phase {
        return None;
    }
    if i < position.phase {
        return Some("is over".into());
    }
    if epochs < done {
        return Some(format!("has already started epoch {done}"));
    }
    if phase.patience.is_some_and(|most| position.since_best >= most) {
        return Some(format!("stopped early, as validation had not improved for {} epochs", position.since_best));
    }
    (done > 0 && phase.schedule.depends_on_length()).then(|| {
        format!(
            "has started with a learning rate that falls over {} epochs; another length would have changed it from the \
             first step",
            phase.epochs
        )
    })
}

/// Where a run stands all of whose epochs are done, and how it can go on.
pub(super) fn finished(training: &Training, end: Option<&Position>, epochs: usize, run: &Path) -> String {
    let phases = training.resolved_phases();
    let done = format!("all {epochs} epochs of this run are done");
    let (Some(end), Some(last)) = (end, phases.last()) else { return format!("{done}; {}", anew(run)) };
    if end.phase_epoch < last.epochs {
        let all = epochs + last.epochs - end.phase_epoch;
        return format!(
            "this run ended after epoch {epochs} of {all}, as validation had not improved for {} epochs; {}",
            end.since_best,
            anew(run)
        );
    }
    if last.schedule.depends_on_length() {
        return format!("{done}, over which its learning rate fell; {}", anew(run));
    }
    let before: String = phases[..phases.len() - 1].iter().map(|phase| format!("{},", phase.epochs)).collect();
    format!("{done}; to train longer: `resume` {} with `epochs` {before}{}", run.display(), 2 * last.epochs)
}

/// How to go on from the weights alone.
fn anew(run: &Path) -> String {
    format!("to start a new run from its weights: `weights` {} with another `output`", run.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Curve, NetworkRecipe, Phase, Schedule};

    fn training(schedule: Schedule) -> Training {
        Training { epochs: 4, schedule, ..NetworkRecipe::find("unet-demo").unwrap().training }
    }

    fn at(phase: usize, phase_epoch: usize) -> Position {
        Position { phase, phase_epoch, ..Position::default() }
    }

    fn refused(training: &Training, wanted: &[usize], position: &Position) -> String {
        let said = set_epochs(&mut training.clone(), wanted, position, Path::new("r3")).unwrap_err().to_string();
        assert!(said.contains("for each phase") || said.contains("`weights` r3 with another `output`"), "{said}");
        said
    }

    #[test]
    fn what_does_not_depend_on_the_length_may_have_another() {
        for curve in [Curve::Constant {}, Curve::Step { every: 2, factor: 0.5 }] {
            for (wanted, done) in [(9, 4), (9, 2), (3, 3), (2, 0)] {
                let mut training = training(curve.into());
                set_epochs(&mut training, &[wanted], &at(0, done), Path::new("r")).unwrap();
                assert_eq!(training.epochs, wanted);
            }
        }
    }

    #[test]
    fn what_would_change_the_epochs_of_before_is_refused_with_a_way_out() {
        let poly = training(Curve::Poly { power: 0.9 }.into());
        assert!(refused(&poly, &[9], &at(0, 1)).contains("falls over 4 epochs"));
        assert!(refused(&poly, &[9, 9], &at(0, 1)).contains("is a list of 2; it must be one number for each phase"));
        let constant = training(Curve::Constant {}.into());
        assert!(refused(&constant, &[2], &at(0, 3)).contains("has already started epoch 3"));
        assert!(refused(&constant, &[3], &Position { batch: 1, ..at(0, 3) }).contains("epoch 4"));
        let patient = Training { patience: Some(2), ..constant };
        let ended = Position { since_best: 2, ..at(0, 3) };
        assert!(refused(&patient, &[9], &ended).contains("as validation had not improved for 2 epochs"));
        // Nothing has happened yet.
        set_epochs(&mut poly.clone(), &[9], &at(0, 0), Path::new("r")).unwrap();
    }

    #[test]
    fn phases_that_have_not_begun_may_have_any_length() {
        let phase = |epochs| Phase { epochs, ..Phase::default() };
        let poly =
            Training { phases: vec![phase(3), phase(5)], epochs: 0, ..training(Curve::Poly { power: 0.9 }.into()) };
        let mut longer = poly.clone();
        set_epochs(&mut longer, &[3, 8], &at(0, 2), Path::new("r")).unwrap();
        assert_eq!(longer.phases[1].epochs, 8);
        assert!(refused(&poly, &[4, 5], &at(0, 2)).contains("phase 1 has started"));
        assert!(refused(&poly, &[4, 5], &at(1, 0)).contains("phase 1 is over"));
        assert!(refused(&poly, &[3, 0], &at(0, 2)).contains("`epochs` is 0; it must be at least 1 for each phase"));
    }

    #[test]
    fn a_finished_run_says_how_it_goes_on() {
        let run = Path::new("r3");
        let constant = training(Curve::Constant {}.into());
        let said = finished(&constant, Some(&at(0, 4)), 4, run);
        assert!(said.ends_with("all 4 epochs of this run are done; to train longer: `resume` r3 with `epochs` 8"));
        let poly = training(Curve::Poly { power: 0.9 }.into());
        assert!(finished(&poly, Some(&at(0, 4)), 4, run).contains("`weights` r3 with another `output`"));
        let ended = Position { since_best: 2, ..at(0, 3) };
        let said = finished(&Training { patience: Some(2), ..constant }, Some(&ended), 3, run);
        assert!(said.contains("ended after epoch 3 of 4, as validation had not improved for 2 epochs; "), "{said}");
    }
}
