//! Command lines of the scripts that segtool stands for: they work with the script's name exchanged.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use clap::Command;
use segtool::base::named_enum::usual_spelling;

/// What scripts call a flag, and its name here.
const FLAGS: [(&str, &str); 3] = [("train", "train-list"), ("lab", "label-list"), ("il", "input-list")];

/// Flags of scripts that have a value and no counterpart, and what there is instead.
const DROPPED: [(&str, &str); 2] = [
    ("num-gpus", "segtool computes on one device, unless --devices names GPUs"),
    ("print-report", "report.html in the run folder is always written"),
];

/// The model of the Capstone's scripts, and the recipe that is its.
const MODEL: (&str, &str) = ("pspnet50_ade20k", "pspnet50-capstone");

/// Scripts without their ending, and words of other programs, with the command that does their work.
const COMMANDS: [(&str, &str); 19] = [
    ("pspnet_train", "train"),
    ("pspnet_pred", "predict"),
    ("pspnet", "predict"),
    ("metrics_acc_iou", "metrics"),
    ("concat_image", "concat"),
    ("rgb2gray", "rgb2gray"),
    ("rgb2grey", "rgb2gray"),
    ("train", "train"),
    ("fit", "train"),
    ("resume", "train --resume"),
    ("test", "predict"),
    ("pred", "predict"),
    ("infer", "predict"),
    ("inference", "predict"),
    ("eval", "metrics"),
    ("eval_multipro", "metrics"),
    ("evaluate", "metrics"),
    ("score", "metrics"),
    ("visualize", "concat"),
];

/// Rewrites what scripts take: long flags with one dash (`-train`), with underscores or in capitals (`--List_predict`), and
/// their names of flags.
pub(super) fn modernise(arguments: impl Iterator<Item = OsString>, command: &Command) -> Vec<OsString> {
    let known = long_flags(command);
    let mut literal = false;
    let rewrite = |argument: OsString| {
        let Some(text) = argument.to_str().filter(|_| !literal) else { return argument };
        literal = text == "--";
        long_flag(text, &known).map_or(argument, OsString::from)
    };
    let mut arguments: Vec<OsString> = arguments.map(rewrite).collect();
    // The command comes first.
    let general = |argument: &&OsString| ["-q", "-v", "--quiet", "--verbose"].iter().any(|flag| **argument == **flag);
    let before = arguments.iter().skip(1).take_while(general).count();
    if arguments.len() > before + 1 {
        arguments[1..=before + 1].rotate_right(1);
    }
    if arguments.get(1).is_some_and(|command| command == "predict") {
        take_out_input_flags(&mut arguments);
    }
    arguments
}

/// Takes out the flags that scripts have before an image, which stands without one here.
fn take_out_input_flags(arguments: &mut Vec<OsString>) {
    const WITH_VALUE: &str = "--input-path=";
    let mut literal = false;
    arguments.retain(|argument| {
        literal |= argument == "--";
        literal || (argument != "-i" && argument != "--input-path")
    });
    for argument in arguments.iter_mut().take_while(|argument| **argument != *"--") {
        if let Some(image) = argument.to_str().and_then(|text| text.strip_prefix(WITH_VALUE)) {
            *argument = image.to_owned().into();
        }
    }
}

/// The recipe that a script's model is, unless there is a run of its name.
pub(super) fn recipe_of_model(recipe: &mut Option<String>) {
    if let Some(name) = recipe
        && name == MODEL.0
        && !is_run(name)
    {
        MODEL.1.clone_into(name);
    }
}

/// Takes out flags of the scripts that have no counterpart, and says what there is instead.
pub(super) fn drop_flags(arguments: &mut Vec<OsString>) -> Vec<String> {
    if !arguments.get(1).is_some_and(|command| command == "train" || command == "predict") {
        return Vec::new();
    }
    let mut notes = Vec::new();
    for (flag, instead) in DROPPED {
        let (alone, with_value) = (format!("--{flag}"), format!("--{flag}="));
        let is_it = |argument: &OsString| argument.to_str().is_some_and(|t| t == alone || t.starts_with(&with_value));
        while let Some(at) = arguments.iter().take_while(|argument| *argument != "--").position(is_it) {
            let is_value = |next: &OsString| !next.to_string_lossy().starts_with('-');
            let values = usize::from(arguments[at] == *alone && arguments.get(at + 1).is_some_and(is_value));
            arguments.drain(at..=at + values);
            notes.push(format!("--{flag} is left out: {instead}"));
        }
    }
    notes
}

/// Whether there is a run folder of that name.
pub(super) fn is_run(name: &str) -> bool {
    segtool::run::is_run(Path::new(name))
}

/// A long flag as it is defined, if `text` is one.
fn long_flag(text: &str, known: &BTreeSet<String>) -> Option<String> {
    let dashed = text.strip_prefix('-')?;
    let (name, value) = dashed.split_at(dashed.find('=').unwrap_or(dashed.len()));
    if let Some(name) = name.strip_prefix('-') {
        return Some(format!("--{}{value}", usual_spelling(name)));
    }
    let name = usual_spelling(name);
    let theirs = FLAGS.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| (*ours).to_owned());
    // A single letter is a short flag.
    let ours = theirs.or_else(|| (name.len() > 1 && known.contains(&name)).then_some(name))?;
    Some(format!("--{ours}{value}"))
}

/// The long flags of all commands.
fn long_flags(command: &Command) -> BTreeSet<String> {
    let flags = command.get_subcommands().chain([command]).flat_map(|command| command.get_arguments());
    let names = flags.flat_map(|flag| flag.get_long().into_iter().chain(flag.get_all_aliases().unwrap_or_default()));
    names.map(str::to_owned).collect()
}

/// What to say of a command that is none, if it is a script's name or the word of another program.
pub(super) fn tip(arguments: &[OsString], command: &Command) -> Option<String> {
    let typed = arguments.get(1)?.to_str().filter(|text| !text.starts_with('-'))?;
    if command.find_subcommand(typed).is_some() {
        return None;
    }
    let file = typed.rsplit(['/', '\\']).next().unwrap_or(typed).to_lowercase();
    let stem = file.strip_suffix(".py").unwrap_or(&file).replace('-', "_");
    let (_, ours) = COMMANDS.iter().find(|(theirs, _)| *theirs == stem)?;
    Some(format!("there is no command '{typed}'; use `segtool {ours}` (its options: `segtool {ours} --help`)"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    fn modern(text: &str) -> String {
        let new = modernise(words(text).into_iter(), &Cli::command());
        new.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn old_flags_are_understood() {
        for (old, new) in [
            (
                "segtool -train a_b.txt -lab c.txt --List_predict=P_1.txt -- --Keep_me -train",
                "segtool --train-list a_b.txt --label-list c.txt --list-predict=P_1.txt -- --Keep_me -train",
            ),
            ("segtool train -optimizer SGD -Learning_Rate=1e-5", "segtool train --optimizer SGD --learning-rate=1e-5"),
            ("segtool predict -il l.txt -f -o out -m r_1", "segtool predict --input-list l.txt -f -o out -m r_1"),
            ("segtool predict -i a.jpg --input_path b.jpg", "segtool predict a.jpg b.jpg"),
            ("segtool predict --input_path=a.jpg -- -i --input-path=b", "segtool predict a.jpg -- -i --input-path=b"),
            ("segtool predict -m pspnet50_ade20k -flip", "segtool predict -m pspnet50_ade20k --flip"),
            ("segtool -q --verbose train --lr=1", "segtool train -q --verbose --lr=1"),
            ("segtool -q", "segtool -q"),
            // No flags: numbers, short flags, unknown words, values.
            ("segtool metrics -9999 -1 -h -V -nonsense -", "segtool metrics -9999 -1 -h -V -nonsense -"),
        ] {
            assert_eq!(modern(old), new);
        }
    }

    #[test]
    fn flags_without_a_counterpart_are_left_out_with_a_word() {
        let left = |text: &str| {
            let mut arguments = words(text);
            let notes = drop_flags(&mut arguments);
            (arguments.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" "), notes.len())
        };
        let line = "segtool train --num-gpus 1 --train-list a --print-report=True -- --num-gpus";
        assert_eq!(left(line), ("segtool train --train-list a -- --num-gpus".into(), 2));
        assert_eq!(left("segtool metrics --num-gpus 1"), ("segtool metrics --num-gpus 1".into(), 0));
        assert_eq!(left("segtool predict --num-gpus"), ("segtool predict".into(), 1));
    }

    #[test]
    fn scripts_are_known_by_their_names() {
        let tip = |text: &str| tip(&words(&format!("segtool {text}")), &Cli::command());
        for (typed, ours) in [
            ("pspnet_train.py -train a", "segtool train`"),
            ("models/pspnet_pred.py", "segtool predict`"),
            ("src\\metrics_acc_iou.py", "segtool metrics`"),
            ("concat_image", "segtool concat`"),
            ("src/rgb2gray.py", "segtool rgb2gray`"),
            ("Test.py", "segtool predict`"),
            ("train.py", "segtool train`"),
            ("evaluate", "segtool metrics`"),
        ] {
            let said = tip(typed).unwrap();
            assert!(said.contains(ours), "{said}");
        }
        for typed in ["train", "rgb2gray", "nonsense", "--version"] {
            assert_eq!(tip(typed), None, "{typed}");
        }
    }

    #[test]
    fn every_command_that_is_proposed_exists() {
        let command = Cli::command();
        for (_, ours) in COMMANDS {
            assert!(command.find_subcommand(ours.split(' ').next().unwrap()).is_some(), "{ours}");
        }
    }
}
