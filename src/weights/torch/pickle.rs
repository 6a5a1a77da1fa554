//! Python's pickles as data: what they describe is kept, and nothing in them is executed.
//!
//! Opcodes are those that `pickletools` documents, of protocols 0 to 5. Objects lie in an arena and refer to each other by
//! number, so that a thing that is mentioned a thousand times is there once, and no depth of nesting is a depth of calls.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use super::object::{Id, Node, Object, Pickle};

/// Reads one pickle, up to the opcode that ends it.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read(input: &mut impl BufRead) -> Result<Pickle, String> {
    let mut machine = Machine { input, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    while machine.step()? {}
    let root = machine.pop()?;
    Ok(Pickle::new(machine.nodes, root))
}

struct Machine<'a, R> {
    input: &'a mut R,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<R: BufRead> Machine<'_, R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn four(&mut self) -> Result<u32, String> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn eight(&mut self) -> Result<u64, String> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// This many bytes; a length that the file does not have costs nothing.
    fn counted(&mut self, length: u64) -> Result<Vec<u8>, String> {
        let mut found = Vec::new();
        let read = Read::take(&mut *self.input, length).read_to_end(&mut found).map_err(|e| e.to_string())?;
        if read as u64 == length { Ok(found) } else { Err("the pickle ends within a text".into()) }
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        self.input.read_until(b'\n', &mut line).map_err(|e| e.to_string())?;
        match line.pop() {
            Some(b'\n') => Ok(String::from_utf8_lossy(&line).into_owned()),
            _ => Err("the pickle ends within a line".into()),
        }
    }

    fn push(&mut self, node: Node) {
        self.nodes.push(node);
        self.stack.push(self.nodes.len() - 1);
    }

    fn text(&mut self, bytes: &[u8]) {
        self.push(Node::Text(String::from_utf8_lossy(bytes).into_owned()));
    }

    fn pop(&mut self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let found = if self.stack.len() > floor { self.stack.pop() } else { None };
        found.ok_or_else(|| "the pickle takes an object where there is none".into())
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "the pickle takes an object where there is none".into())
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, String> {
        Ok(self.stack.split_off(self.marks.pop().ok_or("the pickle ends a group that was not begun")?))
    }

    fn last(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let mut items: Vec<Id> = (0..count).map(|_| self.pop()).collect::<Result<_, _>>()?;
        items.reverse();
        Ok(items)
    }

    /// A call's result: dictionaries and sets are what they are, all else stays a call.
    fn call(&mut self, class: Id, arguments: Id) {
        let name = match &self.nodes[class] {
            Node::Class(name) => name.as_str(),
            _ => "",
        };
        let first = match &self.nodes[arguments] {
            Node::Sequence(items) => items.first().copied(),
            _ => None,
        };
        let items = first.and_then(|id| match &self.nodes[id] {
            Node::Sequence(items) => Some(items.clone()),
            _ => None,
        });
        let node = match name {
            "collections.OrderedDict" => Node::Dict(self.pairs(&items.unwrap_or_default())),
            "builtins.set" | "builtins.frozenset" | "__builtin__.set" | "__builtin__.frozenset" => {
                Node::Sequence(items.unwrap_or_default())
            }
            _ => Node::Object(Object { class, arguments, state: None, entries: Vec::new() }),
        };
        self.push(node);
    }

    /// Keys and values in a list of tuples.
    fn pairs(&self, items: &[Id]) -> Vec<(Id, Id)> {
        let pair = |id: &Id| match &self.nodes[*id] {
            Node::Sequence(pair) => pair.first().copied().zip(pair.get(1).copied()),
            _ => None,
        };
        items.iter().filter_map(pair).collect()
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        let pairs = items.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value));
        match &mut self.nodes[top] {
            Node::Dict(entries) => entries.extend(pairs),
            Node::Object(object) => object.entries.extend(pairs),
            _ => return Err("the pickle sets entries of something that is not a dictionary".into()),
        }
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.nodes[top] {
            Node::Sequence(sequence) => sequence.extend(items),
            // A list of a class of its own: its items are nothing that weights are made of.
            Node::Object(_) => {}
            _ => return Err("the pickle appends to something that is not a list".into()),
        }
        Ok(())
    }

    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let top = self.top()?;
        // What is set on a dictionary, as PyTorch does with versions of modules, is none of its entries.
        if let Node::Object(object) = &mut self.nodes[top] {
            object.state = Some(state);
        }
        Ok(())
    }

    /// Carries out one opcode; `false` if it was the last.
    fn step(&mut self) -> Result<bool, String> {
        let code = self.byte()?;
        match code {
            b'.' => return Ok(false),
            0x80 => {
                let protocol = self.byte()?;
                if protocol > 5 {
                    return Err(format!("a pickle of protocol {protocol}, which is not known"));
                }
            }
            0x95 => _ = self.eight()?, // a frame, for streaming
            b'N' | 0x88 | 0x89 | b'I' | b'L' | b'F' | b'J' | b'K' | b'M' | b'G' | 0x8a | 0x8b => self.number(code)?,
            b'V' | b'S' | 0x8c | b'X' | b'U' | b'T' | 0x8d | b'C' | b'B' | 0x8e | 0x96 => self.string(code)?,
            b'(' => self.marks.push(self.stack.len()),
            b')' | b']' | 0x8f => self.push(Node::Sequence(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b't' | b'l' | 0x91 => {
                let items = self.since_mark()?;
                self.push(Node::Sequence(items));
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(code - 0x84))?;
                self.push(Node::Sequence(items));
            }
            b'd' => {
                let items = self.since_mark()?;
                self.push(Node::Dict(Vec::new()));
                self.set_items(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b's' => {
                let pair = self.last(2)?;
                self.set_items(&pair)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(&items)?;
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => _ = self.marks.pop(),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.since_mark()?,
            b'2' => self.stack.push(self.top()?),
            b'g' | b'h' | b'j' | b'p' | b'q' | b'r' | 0x94 => self.memo(code)?,
            _ => self.object(code)?,
        }
        Ok(true)
    }

    fn number(&mut self, code: u8) -> Result<(), String> {
        let parsed = |text: &str| text.trim_end_matches('L').parse::<i64>().map_or(Node::Other, Node::Int);
        let node = match code {
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'I' | b'L' => match self.line()?.as_str() {
                "00" => Node::Bool(false),
                "01" => Node::Bool(true),
                text => parsed(text),
            },
            b'F' => {
                self.line()?;
                Node::Other
            }
            b'J' => Node::Int(i32::from_le_bytes(self.bytes()?).into()),
            b'K' => Node::Int(self.byte()?.into()),
            b'M' => Node::Int(u16::from_le_bytes(self.bytes()?).into()),
            b'G' => {
                self.eight()?;
                Node::Other
            }
            0x8a | 0x8b => {
                let length = if code == 0x8a { self.byte()?.into() } else { self.four()? };
                long(&self.counted(length.into())?)
            }
            _ => Node::Other,
        };
        self.push(node);
        Ok(())
    }

    fn string(&mut self, code: u8) -> Result<(), String> {
        let length = match code {
            b'V' | b'S' => {
                let line = self.line()?;
                self.text(line.trim_matches(['\'', '"']).as_bytes());
                return Ok(());
            }
            0x8c | b'U' | b'C' => self.byte()?.into(),
            b'X' | b'T' | b'B' => self.four()?.into(),
            _ => self.eight()?,
        };
        let bytes = self.counted(length)?;
        match code {
            b'C' | b'B' | 0x8e | 0x96 => self.push(Node::Other),
            _ => self.text(&bytes),
        }
        Ok(())
    }

    fn memo(&mut self, code: u8) -> Result<(), String> {
        let wrong = |line: &str| format!("the pickle numbers an object '{line}'");
        let place = match code {
            b'g' | b'p' => {
                let line = self.line()?;
                line.parse().map_err(|_| wrong(&line))?
            }
            b'h' | b'q' => self.byte()?.into(),
            b'j' | b'r' => self.four()?,
            _ => self.memo.len() as u32,
        };
        if matches!(code, b'g' | b'h' | b'j') {
            let found = self.memo.get(&place).ok_or("the pickle mentions an object that it does not hold")?;
            self.stack.push(*found);
        } else {
            let top = self.top()?;
            self.memo.insert(place, top);
        }
        Ok(())
    }

    fn object(&mut self, code: u8) -> Result<(), String> {
        match code {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Node::Class(format!("{module}.{name}")));
            }
            0x93 => {
                let [module, name] = self.last(2)?[..] else { unreachable!("two were taken") };
                let (Node::Text(module), Node::Text(name)) = (&self.nodes[module], &self.nodes[name]) else {
                    return Err("the pickle names a class with something that is not text".into());
                };
                self.push(Node::Class(format!("{module}.{name}")));
            }
            b'P' => {
                let name = self.line()?;
                self.text(name.as_bytes());
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            b'R' | 0x81 => {
                let [class, arguments] = self.last(2)?[..] else { unreachable!("two were taken") };
                self.call(class, arguments);
            }
            0x92 => {
                let [class, arguments, _named] = self.last(3)?[..] else { unreachable!("three were taken") };
                self.call(class, arguments);
            }
            b'i' | b'o' => {
                let mut items = if code == b'o' { self.since_mark()? } else { Vec::new() };
                let class = match code {
                    b'o' if !items.is_empty() => items.remove(0),
                    b'o' => return Err("the pickle makes an object of no class".into()),
                    _ => {
                        let (module, name) = (self.line()?, self.line()?);
                        items = self.since_mark()?;
                        self.nodes.push(Node::Class(format!("{module}.{name}")));
                        self.nodes.len() - 1
                    }
                };
                self.nodes.push(Node::Sequence(items));
                self.call(class, self.nodes.len() - 1);
            }
            b'b' => self.build()?,
            other => return Err(format!("the pickle has an opcode 0x{other:02x}, which is not known")),
        }
        Ok(())
    }
}

/// A whole number of any length; those that do not fit are of no use here.
fn long(bytes: &[u8]) -> Node {
    if bytes.len() > 9 {
        return Node::Other;
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::try_from(i128::from_le_bytes(wide)).map_or(Node::Other, Node::Int)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Pickle {
        read(&mut &bytes[..]).unwrap()
    }

    #[test]
    fn values_of_every_protocol_are_read() {
        // {'a': (1, -2), 'b': [True]} by protocols 0, 2 and 4, as Python 3.12 writes it.
        for bytes in [
            &b"(dp0\nVa\np1\n(I1\nI-2\ntp2\nsVb\np3\n(lp4\nI01\nas."[..],
            b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01J\xfe\xff\xff\xff\x86q\x02X\x01\x00\x00\x00bq\x03]q\x04\x88au.",
            b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94K\x01J\xfe\xff\xff\xff\x86\x94\x8c\x01b\x94]\x94\x88au.",
        ] {
            let pickle = of(bytes);
            let a = pickle.get(pickle.root, "a").unwrap();
            let numbers = pickle.sequence(a).unwrap();
            assert!(matches!(pickle.node(numbers[0]), Node::Int(1)) && matches!(pickle.node(numbers[1]), Node::Int(-2)));
            let b = pickle.sequence(pickle.get(pickle.root, "b").unwrap()).unwrap();
            assert!(matches!(pickle.node(b[0]), Node::Bool(true)));
        }
    }

    #[test]
    fn a_thing_that_is_mentioned_often_is_there_once() {
        // A list of two, each a list of the last one twice, sixty times: 2^60 items, if they were copied.
        let mut bytes = b"\x80\x02]q\x00".to_vec();
        for i in 0..60u8 {
            bytes.extend([b'0', b']', b'q', i + 1, b'(', b'h', i, b'h', i, b'e']);
        }
        bytes.push(b'.');
        assert!(of(&bytes).nodes().len() < 100);
    }

    #[test]
    fn wrong_pickles_are_errors() {
        for (bytes, words) in [
            (&b"\x80\x09N."[..], "protocol 9"),
            (b".", "where there is none"),
            (b"(.", "where there is none"),
            (b"h\x05.", "does not hold"),
            (b"X\xff\xff\xff\x7fabc.", "ends within a text"),
            (b"cabc\ndef", "ends within a line"),
            (b"\xff", "0xff"),
            (b"NNs.", "where there is none"),
            (b"NNNs.", "not a dictionary"),
            (b"t.", "not begun"),
        ] {
            assert!(read(&mut &bytes[..]).unwrap_err().contains(words), "{bytes:?}");
        }
        assert!(matches!(long(&[0xfe]), Node::Int(-2)) && matches!(long(&[]), Node::Int(0)));
        assert!(matches!(long(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0]), Node::Other));
    }
}
