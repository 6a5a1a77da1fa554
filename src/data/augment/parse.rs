//! Augmentations as recipes and command lines write them.

use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::check::KINDS;
use super::{Augmentation, Change};
use crate::base::named_enum::usual_spelling;
use crate::base::{Error, Result};

impl Augmentation {
    /// A list such as `flip-horizontal,rotate=10,scale=0.5:2,crop=473`; `none` is the empty one. Values are, in this
    /// order: `rotate` the degrees; `scale` the smallest and the largest factor; `resize-short` the short sides;
    /// `resize` and `crop` a side, or height and width, and `crop` then the largest share of a class; `color-jitter`
    /// brightness, contrast, saturation and hue; `blur` the smallest and the largest standard deviation; `noise` its
    /// standard deviation.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        if text.trim() == "none" { Ok(Vec::new()) } else { text.split(',').map(|entry| entry.trim().parse()).collect() }
    }

    /// From a recipe's table, or one that was made of a name.
    fn from_table(mut table: Map<String, Value>) -> Result<Self, String> {
        let name = table.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let fault = |reason: String| format!("augmentation '{name}': {reason}");
        let probability = table.remove("probability");
        let change = Change::deserialize(Value::Object(table)).map_err(|e| fault(e.to_string()))?;
        let mut augmentation = Self::from(change);
        if let Some(given) = probability {
            let reason = || fault(format!("`probability` must be a number from 0 to 1, not {given}"));
            augmentation.probability = given.as_f64().ok_or_else(reason)?;
        }
        augmentation.check().map(|()| augmentation).map_err(|e| fault(e.to_string()))
    }
}

/// The table of a change with these values.
fn table_of(name: &str, mut values: Value) -> Map<String, Value> {
    values["kind"] = name.into();
    match values {
        Value::Object(table) => table,
        _ => Map::new(),
    }
}

/// What a bare name stands for.
fn usual(name: &str) -> Map<String, Value> {
    let values = match name {
        "rotate" => json!({ "degrees": 10.0 }),
        "scale" => json!({ "min": 0.5, "max": 2.0 }),
        "color-jitter" => json!({ "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1 }),
        "blur" => json!({ "sigma": [0.1, 2.0] }),
        "noise" => json!({ "std": 0.05 }),
        _ => json!({}),
    };
    table_of(name, values)
}

/// Keys of the values that follow a name on the command line, or what is said about their number.
fn with_values(name: &str, values: &[Value]) -> Result<Map<String, Value>, String> {
    let keys: &[&str] = match name {
        "rotate" => &["degrees"],
        "scale" => &["min", "max"],
        "color-jitter" => &["brightness", "contrast", "saturation", "hue"],
        "noise" => &["std"],
        _ => &[],
    };
    let values = match (name, values) {
        ("resize-short", sides) => json!({ "sides": sides }),
        ("resize" | "crop", [side]) => json!({ "size": side }),
        ("crop", [side, share]) if share.is_f64() => json!({ "size": side, "max_class_share": share }),
        ("crop", [height, width, share]) => json!({ "size": [height, width], "max_class_share": share }),
        ("resize" | "crop", [_, _]) => json!({ "size": values }),
        ("blur", [sigma]) => json!({ "sigma": [sigma, sigma] }),
        ("blur", [_, _]) => json!({ "sigma": values }),
        _ if !keys.is_empty() && values.len() <= keys.len() => {
            keys.iter().zip(values).map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
        }
        // An unknown name says more than its number of values.
        _ if KINDS.contains(&name) => return Err(format!("'{name}' does not take {} values", values.len())),
        _ => json!({}),
    };
    Ok(table_of(name, values))
}

impl FromStr for Augmentation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let table = match text.split_once('=') {
            None => Ok(usual(&usual_spelling(text))),
            Some((name, values)) => {
                let name = &usual_spelling(name);
                let values: Result<Vec<Value>, String> = values.split(':').map(number).collect();
                let named = |reason| format!("augmentation '{name}': {reason}");
                values.and_then(|values| with_values(name, &values)).map_err(named)
            }
        };
        table.and_then(Self::from_table).map_err(|reason| {
            let expected = "a list such as flip-horizontal,rotate=10,scale=0.5:2,crop=473";
            Error::invalid("augment", format!("'{text}' ({reason})"), expected)
        })
    }
}

/// Sides are whole, and JSON keeps whole numbers apart.
fn number(text: &str) -> Result<Value, String> {
    let whole = || text.parse::<u64>().ok().map(Value::from);
    let float = || text.parse::<f64>().ok().filter(|value| value.is_finite()).map(Value::from);
    whole().or_else(float).ok_or_else(|| format!("'{text}' is not a number"))
}

/// An augmentation as a recipe has it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected the name of an augmentation, or a table with its `kind`")]
pub(super) enum NameOrTable {
    Name(String),
    Table(Map<String, Value>),
}

impl TryFrom<NameOrTable> for Augmentation {
    type Error = String;

    fn try_from(written: NameOrTable) -> Result<Self, String> {
        Self::from_table(match written {
            NameOrTable::Name(name) => usual(&name),
            NameOrTable::Table(table) => table,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Extent;

    #[derive(Debug, Deserialize)]
    struct NetworkRecipe {
        augment: Vec<Augmentation>,
    }

    fn read(list: &str) -> Result<Vec<Augmentation>, String> {
        toml::from_str::<NetworkRecipe>(&format!("augment = {list}")).map(|r| r.augment).map_err(|e| e.to_string())
    }

    #[test]
    fn recipes_write_names_and_tables() {
        let list = read(
            r#"["flip-horizontal", "rotate", { kind = "rotate", degrees = 180 }, { kind = "crop", size = [3, 5] },
                { kind = "scale", min = 0.5, max = 2, aspect = [0.9, 1.1], probability = 0.25 }]"#,
        )
        .unwrap();
        let [flip, ten, any, crop, scale] = list.as_slice() else { panic!("{list:?}") };
        assert_eq!(*flip, Augmentation { change: Change::FlipHorizontal {}, probability: 0.5 });
        assert_eq!(*ten, Change::Rotate { degrees: 10.0 }.into());
        assert_eq!(*any, Augmentation { change: Change::Rotate { degrees: 180.0 }, probability: 1.0 });
        assert_eq!(crop.change, Change::Crop { size: Extent::Sides([3, 5]), max_class_share: None });
        assert_eq!(scale.probability, 0.25);
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Augmentation>>(&json).unwrap(), list);
    }

    #[test]
    fn faults_of_recipes_are_named() {
        for (list, expected) in [
            (r#"["spin"]"#, "unknown variant `spin`, expected one of `flip-horizontal`"),
            (r#"["crop"]"#, "missing field `size`"),
            (r#"[{ kind = "crop", size = "big" }]"#, "[height, width]"),
            (r#"[{ kind = "flip-vertical", degrees = 3 }]"#, "degrees"),
            (r#"[{ kind = "rotate", degrees = nan }]"#, "degrees"),
            (r#"[{ kind = "rotate180", probability = 2 }]"#, "`rotate180.probability` is 2"),
            ("[3]", "name of an augmentation"),
        ] {
            assert_refused!(read(list), expected);
        }
    }

    #[test]
    fn command_lines_write_lists() {
        let text = "flip-horizontal, rotate=10,scale=0.5:2,resize-short=300:375,crop=473,resize=20:30,blur=1.1,\
                    color-jitter=0.2";
        let list = Augmentation::parse_list(text).unwrap();
        let changes: Vec<Change> = list.into_iter().map(|augmentation| augmentation.change).collect();
        let expected = [
            Change::FlipHorizontal {},
            Change::Rotate { degrees: 10.0 },
            Change::Scale { min: 0.5, max: 2.0, aspect: None },
            Change::ResizeShort { sides: vec![300, 375], longest: None, multiple: 1 },
            Change::Crop { size: Extent::Square(473), max_class_share: None },
            Change::Resize { size: Extent::Sides([20, 30]) },
            Change::Blur { sigma: [1.1, 1.1], radius: None },
            Change::ColorJitter { brightness: 0.2, contrast: 0.0, saturation: 0.0, hue: 0.0 },
        ];
        assert_eq!(changes, expected);
        assert_eq!(Augmentation::parse_list("none").unwrap(), []);
        let crop = |text: &str| Augmentation::parse_list(text).unwrap().remove(0).change;
        let capped = |size| Change::Crop { size, max_class_share: Some(0.75) };
        assert_eq!(crop("crop=473:0.75"), capped(Extent::Square(473)));
        assert_eq!(crop("crop=20:30:0.75"), capped(Extent::Sides([20, 30])));
        for (text, expected) in [
            ("", "unknown variant"),
            ("spin=3", "unknown variant `spin`"),
            ("rotate=ten", "'ten' is not a number"),
            ("rotate=1:2", "does not take 2 values"),
            ("flip-horizontal=1", "does not take 1 values"),
            ("scale=2", "missing field `max`"),
            ("crop=2.5", "[height, width]"),
        ] {
            assert_refused!(Augmentation::parse_list(text), expected);
        }
    }
}
