//! `values = 3` as well as `values = [3, 4]`.

use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(untagged, expecting = "`values` must be a whole number from 0 to 65535, or a list of such numbers")]
enum OneOrMany {
    One(u16),
    Many(Vec<u16>),
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(value) => vec![value],
        OneOrMany::Many(values) => values,
    })
}
