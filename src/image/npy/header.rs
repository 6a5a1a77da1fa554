//! The header of a .npy file: a Python dictionary of three entries. Read here rather than by `ndarray-npy`, whose parser
//! of Python literals takes twice as long for every bracket.

use std::io::Read;

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Longest header, as numpy has it, too.
const MAX_LENGTH: usize = 10_000;

/// What a .npy file says of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Type of a value, as numpy writes it: `<i8` is byte order, kind and bytes a value.
    pub(super) descriptor: String,
    /// Whether the first axis varies fastest.
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
}

impl Header {
    /// Reads a header, and says how many bytes it took. The reason of an error is to be told with the name of the file.
    pub(super) fn read(input: &mut impl Read) -> Result<(Self, u64), String> {
        let mut start = [0; 8];
        fill(input, &mut start)?;
        if !start.starts_with(MAGIC) {
            return Err("it does not begin like one".into());
        }
        let wide = match start[6..] {
            [1, 0] => 2,
            [2 | 3, 0] => 4,
            _ => return Err(format!("its version {}.{} is not known", start[6], start[7])),
        };
        let mut length = [0; 4];
        fill(input, &mut length[..wide])?;
        let (length, before) = (u32::from_le_bytes(length) as usize, start.len() + wide);
        if length > MAX_LENGTH {
            return Err(format!("its header claims {length} bytes; numpy reads at most {MAX_LENGTH}"));
        }
        let mut text = vec![0; length];
        fill(input, &mut text)?;
        let text = std::str::from_utf8(&text).map_err(|e| format!("its header is not text: {e}"))?;
        Ok((Literal { rest: text }.header()?, (before + length) as u64))
    }

    /// `i8` of `<i8`.
    pub(super) fn kind(&self) -> &str {
        self.descriptor.trim_start_matches(['<', '>', '|', '='])
    }

    pub(super) fn is_big_endian(&self) -> bool {
        self.descriptor.starts_with('>')
    }
}

fn fill(input: &mut impl Read, bytes: &mut [u8]) -> Result<(), String> {
    input.read_exact(bytes).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => "it ends inside the header".into(),
        _ => e.to_string(),
    })
}

/// What is left of the text.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn header(mut self) -> Result<Header, String> {
        let (mut descriptor, mut fortran, mut shape) = (None, None, None);
        self.expect("{")?;
        while !self.take("}") {
            let key = self.text()?;
            self.expect(":")?;
            match key {
                "descr" if self.take("[") => {
                    let reason = "it holds records; save one of their fields, as in np.save(path, array['label'])";
                    return Err(reason.into());
                }
                "descr" => descriptor = Some(self.text()?.to_owned()),
                "fortran_order" => fortran = Some(self.truth()?),
                "shape" => shape = Some(self.shape()?),
                other => return Err(format!("its header has an entry '{other}', which no .npy file has")),
            }
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        if !self.rest.trim_start().is_empty() {
            return Err("its header has trailing data after the dictionary".into());
        }
        let missing = |key: &str| format!("its header has no entry '{key}'");
        Ok(Header {
            descriptor: descriptor.ok_or_else(|| missing("descr"))?,
            fortran: fortran.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }

    /// Whether `token` comes next; if so it is taken.
    fn take(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(self.wrong(&format!("'{token}'"))) }
    }

    fn wrong(&self, expected: &str) -> String {
        let found: String = self.rest.chars().take(12).collect();
        format!("its header has \"{}\" where {expected} is expected", found.escape_debug())
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let quote = if self.take("'") { '\'' } else { '"' };
        if quote == '"' && !self.take("\"") {
            return Err(self.wrong("a text"));
        }
        let (text, rest) = self.rest.split_once(quote).ok_or_else(|| self.wrong("a string with a closing quote"))?;
        self.rest = rest;
        Ok(text)
    }

    fn truth(&mut self) -> Result<bool, String> {
        if self.take("True") {
            Ok(true)
        } else if self.take("False") {
            Ok(false)
        } else {
            Err(self.wrong("True or False"))
        }
    }

    fn shape(&mut self) -> Result<Vec<usize>, String> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.take(")") {
            let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = self.rest.split_at(digits);
            shape.push(number.parse().map_err(|_| self.wrong("a length"))?);
            // Python 2 wrote long numbers as 24L.
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn header(version: u8, text: &str) -> Result<(Header, u64), String> {
        let mut bytes = [MAGIC.as_slice(), &[version, 0]].concat();
        match version {
            1 => bytes.extend((text.len() as u16).to_le_bytes()),
            _ => bytes.extend((text.len() as u32).to_le_bytes()),
        }
        bytes.extend(text.bytes());
        Header::read(&mut bytes.as_slice())
    }

    #[test]
    fn headers_of_every_writer_are_read() {
        let read = |version: u8, text: &str| {
            let (header, length) = header(version, text).unwrap();
            assert_eq!(length as usize, text.len() + if version == 1 { 10 } else { 12 });
            (header.descriptor.clone(), header.fortran, header.shape)
        };
        let numpy = "{'descr': '<i8', 'fortran_order': False, 'shape': (24, 32), }          \n";
        assert_eq!(read(1, numpy), ("<i8".into(), false, vec![24, 32]));
        assert_eq!(read(2, numpy), ("<i8".into(), false, vec![24, 32]));
        assert_eq!(read(3, r#"{"shape":(3,),"descr":"|u1","fortran_order":True}"#), ("|u1".into(), true, vec![3]));
        assert_eq!(
            read(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (2L, 3L, 4L)}"),
            (">f4".into(), false, vec![2, 3, 4])
        );
        assert_eq!(read(1, "{'descr': '>f4', 'fortran_order': False, 'shape': ()}").2, Vec::<usize>::new());
    }

    #[test]
    fn other_headers_are_refused_at_once() {
        let plain = "{'descr': '|u1', 'fortran_order': False, 'shape': (24, 32)}";
        let nested = |count: usize| plain.replace("'|u1'", &("[".repeat(count) + "'|u1'" + &"]".repeat(count)));
        let began = Instant::now();
        for (text, expected) in [
            (nested(26), "it holds records"),
            (nested(4000), "it holds records"),
            (plain.replace("24", &"(".repeat(5000)), "a length"),
            (plain.replace("24", "-1"), "a length"),
            (plain.replace("24", "99999999999999999999"), "a length"),
            (plain.replace("False", "0"), "True or False"),
            (plain.replace("'|u1'", "None"), "a text"),
            (plain.replace("'shape'", "'size'"), "an entry 'size'"),
            (plain.replace(", 'shape': (24, 32)", ""), "no entry 'shape'"),
            (plain.replace('}', ""), "'}'"),
            (plain.to_owned() + " 1", "trailing data after the dictionary"),
            ("{".repeat(9000), "a text"),
            (" ".repeat(20_000), "claims 20000 bytes"),
            (String::new(), "'{'"),
        ] {
            assert_refused!(header(1, &text), expected);
        }
        assert!(began.elapsed() < Duration::from_millis(100));
        assert!(header(4, plain).unwrap_err().contains("version 4.0"));
        assert!(Header::read(&mut b"\x93NUMPY\x02\0\xff\xff\xff\xff".as_slice()).unwrap_err().contains("4294967295"));
        assert!(Header::read(&mut b"\x93NUM".as_slice()).unwrap_err().contains("ends inside"));
    }
}
