//! The pages and what they load, compiled in.

/// A file of the pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asset {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The app and the page that labels.
pub(super) const APP: &str = include_str!("pages/app.html");
pub(super) const LABEL: &str = include_str!("pages/label.html");

macro_rules! assets {
    ($($name:literal $kind:expr),* $(,)?) => {
        &[$(Asset { name: $name, kind: $kind, text: include_str!(concat!("pages/", $name)) }),*]
    };
}

/// What the pages load from `/assets/`.
const ASSETS: &[Asset] = assets![
    "api.js" SCRIPT,
    "app.css" STYLE,
    "app.js" SCRIPT,
    "base.css" STYLE,
    "colors.js" SCRIPT,
    "label-classes.js" SCRIPT,
    "label-messages.js" SCRIPT,
    "label-history.js" SCRIPT,
    "label-keys.js" SCRIPT,
    "label-model.js" SCRIPT,
    "label-raster.js" SCRIPT,
    "label-sync.js" SCRIPT,
    "label-tools.js" SCRIPT,
    "label-view.js" SCRIPT,
    "label.css" STYLE,
    "label.js" SCRIPT,
    "legend.js" SCRIPT,
    "result.js" SCRIPT,
    "start.js" SCRIPT,
    "viewer.js" SCRIPT,
    "words.js" SCRIPT,
    "work.js" SCRIPT,
];

/// A file by its name.
pub(super) fn find(name: &str) -> Option<Asset> {
    ASSETS.iter().find(|asset| asset.name == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_the_pages_are_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/pages");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let kind = match name.rsplit_once('.').unwrap().1 {
                "js" => SCRIPT,
                "css" => STYLE,
                _ => continue,
            };
            assert_eq!(find(&name).map(|asset| asset.kind), Some(kind), "{name}");
        }
        assert!(find("app.html").is_none() && find("../mod.rs").is_none());
    }
}
