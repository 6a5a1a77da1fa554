//! Suggestions for options that users of other programs type.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use segtool::base::named_enum::usual_spelling;

/// What others call an option, and the options that do the same here: the first that the command has.
const OPTIONS: [(&[&str], &[&str]); 20] = [
    (&["lr", "rate", "lr0", "base-lr", "learning-rates"], &["learning-rate"]),
    (&["epochs", "epoch", "num-epochs", "max-epochs", "n-epochs"], &["num-epoch"]),
    (
        &["out", "output", "outdir", "output-dir", "out-dir", "save-dir", "work-dir", "results"],
        &["output-path", "output-folder", "output"],
    ),
    (
        &["input", "inputs", "input-dir", "img", "img-dir", "image", "image-dir", "data", "data-dir", "folder"],
        &["images", "input-folder", "input-list"],
    ),
    (
        &["masks", "mask", "mask-dir", "label", "label-dir", "annotations", "ann-dir", "gt", "targets"],
        &["labels", "label-list"],
    ),
    (&["config", "cfg", "arch", "architecture", "network", "net"], &["recipe"]),
    (&["batch", "bs", "batchsize"], &["batch-size", "batch"]),
    (&["checkpoint", "ckpt-path", "pretrained", "load", "model-path", "load-from", "resume-from"], &["weights", "run"]),
    (&["gpu", "gpus", "cuda", "cpu", "device-id", "accelerator"], &["device"]),
    (&["threads", "num-workers", "jobs", "num-threads"], &["workers"]),
    (&["classes", "num-classes", "n-classes", "nclass", "class-count"], &["num-class", "classes", "dataset"]),
    (&["amp", "fp16", "bf16", "half", "tf32", "dtype", "mixed-precision"], &["precision"]),
    (&["val", "val-split", "validation-split", "val-ratio", "split-ratio", "test-size"], &["val-fraction"]),
    (&["crop", "crop-size", "aug", "augmentation", "augmentations", "transforms"], &["augment", "tile"]),
    (&["tta", "hflip", "mirror"], &["flip"]),
    (&["window", "window-size", "tile-size", "patch-size", "sliding-window"], &["tile"]),
    (&["overlap", "step-size"], &["stride"]),
    (&["criterion", "loss-function", "loss-fn"], &["loss"]),
    (&["optim", "opt"], &["optimizer"]),
    (&["force", "replace", "exist-ok"], &["overwrite"]),
];

/// Adds a suggestion to the error about an unknown option where clap finds none that is spelled alike.
pub(super) fn complete(error: &mut clap::Error, command: &Command) {
    if error.kind() != ErrorKind::UnknownArgument {
        return;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg) else { return };
    if let Some(ours) = counterpart(typed, command) {
        error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{ours}")));
    }
}

fn counterpart(typed: &str, command: &Command) -> Option<&'static str> {
    let name = usual_spelling(typed.trim_start_matches('-').split('=').next()?);
    let has = |option: &str| command.get_arguments().any(|argument| argument.get_long() == Some(option));
    OPTIONS
        .iter()
        .filter(|(theirs, _)| theirs.contains(&name.as_str()))
        .find_map(|(_, ours)| ours.iter().copied().find(|option| has(option)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::*;

    /// What the error for an unknown option suggests.
    fn suggested(line: &str) -> String {
        let command = Cli::command();
        let mut error = command.clone().try_get_matches_from(line.split(' ')).unwrap_err();
        complete(&mut error, command.find_subcommand(line.split(' ').nth(1).unwrap()).unwrap());
        error.to_string()
    }

    #[test]
    fn words_of_other_programs_lead_to_the_option() {
        for (line, option) in [
            ("segtool train --lr 0.1", "--learning-rate"),
            ("segtool train --epochs=3", "--num-epoch"),
            ("segtool train --out runs", "--output-path"),
            ("segtool rgb2gray --out gray", "--output-folder"),
            ("segtool import --out a.safetensors", "--output"),
            ("segtool predict --checkpoint a.pth", "--weights"),
            ("segtool bench --fp16 --recipe x", "--precision"),
            ("segtool predict --window_size 5", "--tile"),
        ] {
            assert!(suggested(line).contains(&format!("'{option}'")), "{}", suggested(line));
        }
        // Where clap finds one, or nobody knows it.
        assert!(suggested("segtool train --dataste a").contains("'--dataset'"));
        assert!(!suggested("segtool train --zzz a").contains("similar"));
    }

    #[test]
    fn every_option_that_is_suggested_exists() {
        let command = Cli::command();
        for option in OPTIONS.iter().flat_map(|(_, ours)| *ours) {
            let has = |c: &Command| c.get_arguments().any(|argument| argument.get_long() == Some(option));
            assert!(command.get_subcommands().any(has), "{option}");
        }
    }
}
