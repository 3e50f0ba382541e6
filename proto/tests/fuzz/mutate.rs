//! Changes examples in the ways in which strangers would: bits, cuts, repetitions, numbers that are
//! too large, nesting that is too deep, lists that are too long, text that is no text, line ends of
//! other systems; and it does so inside of base64 and JSON, too, so that the parsers within are
//! met.
//!
//! Invariant: the same seed and the same examples give the same cases, on every machine.

use serde_json::Value;

/// The longest case: what is longer is cut, so that a run has an end.
const CASE_LEN_MAX: usize = 256 * 1024;

/// Numbers at which something ends: signs, widths of integers, sizes of trees and lists.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "00",
    "1e9",
    "1.5",
    "127",
    "256",
    "65536",
    "4294967296",
    "9007199254740991",
    "9007199254740992",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
];

/// Texts that mean something to one reader and something else, or nothing, to another.
const TOKENS: [&[u8]; 22] = [
    b"\0",
    b"\r\n",
    b"\n\n",
    b"\t",
    b" ",
    b"+",
    b"=",
    b"/../",
    b"%2e%2e/",
    b"\\u0000",
    b"\\ud800",
    b"\xff\xfe",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\x1b[31m",
    "\u{2028}".as_bytes(),
    "\u{2014} ".as_bytes(),
    b"null",
    b"{}",
    b"[]",
    b"\"",
];

/// Pseudo-random numbers (SplitMix64).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// One of `list`, which is not empty.
    pub fn one_of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len + 1);
        let most = if self.below(4) == 0 { len - start } else { (len - start).min(16) };
        start..start + self.below(most + 1)
    }
}

/// A case made of one of `examples` by one to four changes.
pub fn case(random: &mut Random, examples: &[Vec<u8>]) -> Vec<u8> {
    let mut case = examples[random.below(examples.len())].clone();
    for _ in 0..=random.below(4) {
        change(random, &mut case, examples);
        case.truncate(CASE_LEN_MAX);
    }
    case
}

fn change(random: &mut Random, case: &mut Vec<u8>, examples: &[Vec<u8>]) {
    match random.below(10) {
        0..=2 if change_json(random, case) => (),
        3..=4 if change_base64(random, case) => (),
        5 if change_number(random, case) => (),
        6 => change_lines(random, case),
        7 => splice(random, case, examples),
        _ => change_bytes(random, case),
    }
}

fn change_bytes(random: &mut Random, case: &mut Vec<u8>) {
    let range = random.range(case.len());
    match random.below(7) {
        0 | 1 if !case.is_empty() => {
            let at = random.below(case.len());
            case[at] ^= 1 << random.below(8);
        }
        2 if !case.is_empty() => {
            let at = random.below(case.len());
            case[at] =
                random.one_of(&[&0, &1, &0x7f, &0x80, &0xff, &b'0', &b'\n', &b'"']).to_owned();
        }
        3 => case.truncate(range.start),
        4 => drop(case.drain(range)),
        5 => {
            let count = random.one_of(&[&1, &2, &3, &33, &257]);
            let repeated = case[range.clone()].repeat(*count);
            case.splice(range, repeated).for_each(drop);
        }
        _ => {
            let token = random.one_of(&TOKENS);
            case.splice(range.start..range.start, token.iter().copied()).for_each(drop);
        }
    }
}

/// The rest of another example instead of the rest of this one.
fn splice(random: &mut Random, case: &mut Vec<u8>, examples: &[Vec<u8>]) {
    let other = &examples[random.below(examples.len())];
    case.truncate(random.below(case.len() + 1));
    case.extend_from_slice(&other[random.below(other.len() + 1)..]);
}

fn change_lines(random: &mut Random, case: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = case.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (one, other) = (random.below(lines.len()), random.below(lines.len()));
    let mut end = &b"\n"[..];
    match random.below(6) {
        0 => lines.swap(one, other),
        1 => drop(lines.remove(one)),
        2 => lines.insert(other, lines[one].clone()),
        3 => {
            let many = vec![lines[one].clone(); *random.one_of(&[&17, &64, &101, &1_025])];
            lines.splice(one..one, many).for_each(drop);
        }
        4 => end = b"\r\n",
        _ => lines[one].push(*random.one_of(&[&b'\r', &b' ', &b'#'])),
    }
    *case = lines.join(end);
}

/// Another number for one of the numbers, whether in text or in JSON.
fn change_number(random: &mut Random, case: &mut Vec<u8>) -> bool {
    let starts = |at: &usize| {
        case[*at].is_ascii_digit() && (*at == 0 || !case[*at - 1].is_ascii_alphanumeric())
    };
    let numbers: Vec<usize> = (0..case.len()).filter(starts).collect();
    let Some(&start) = numbers.get(random.below(numbers.len())) else { return false };
    let len = case[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = random.one_of(&NUMBERS);
    case.splice(start..start + len, number.bytes()).for_each(drop);
    true
}

/// A change to the bytes that a run of base64 stands for.
fn change_base64(random: &mut Random, case: &mut Vec<u8>) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let mut runs = Vec::new();
    let mut at = 0;
    while at < case.len() {
        let len = case[at..].iter().take_while(|byte| is_base64(byte)).count();
        if len >= 4 {
            runs.push(at..at + len);
        }
        at += len + 1;
    }
    let Some(run) = runs.get(random.below(runs.len())).cloned() else { return false };
    let text = String::from_utf8_lossy(&case[run.clone()]).into_owned();
    let Some(mut bytes) = treering_proto::encoding::from_base64(&text) else { return false };
    // Base64 within base64, as entries carry keys; then a change to what is found there.
    match random.below(3) {
        0 if change_base64(random, &mut bytes) => (),
        1 if change_json(random, &mut bytes) => (),
        _ => change_bytes(random, &mut bytes),
    }
    let written = treering_proto::encoding::to_base64(&bytes);
    case.splice(run, written.bytes()).for_each(drop);
    true
}

fn change_json(random: &mut Random, case: &mut Vec<u8>) -> bool {
    let Ok(mut value) = serde_json::from_slice::<Value>(case) else { return false };
    if !matches!(value, Value::Object(_) | Value::Array(_)) {
        return false;
    }
    let mut count = 0;
    walk(&mut value, &mut |_| count += 1);
    let chosen = random.below(count);
    let mut at = 0;
    walk(&mut value, &mut |node| {
        if at == chosen {
            change_node(random, node);
        }
        at += 1;
    });
    *case = value.to_string().into_bytes();
    if random.below(8) == 0 {
        repeat_member(random, case);
    }
    true
}

fn walk(value: &mut Value, visit: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, visit)),
        Value::Object(members) => members.values_mut().for_each(|member| walk(member, visit)),
        _ => (),
    }
    visit(value);
}

fn change_node(random: &mut Random, node: &mut Value) {
    let other = match random.below(8) {
        0 => Value::Null,
        1 => serde_json::from_str(random.one_of(&NUMBERS)).unwrap_or(Value::Bool(true)),
        2 => Value::String((*random.one_of(&NUMBERS)).to_owned()),
        3 => Value::String("\u{7f}\u{1f600}".repeat(*random.one_of(&[&0, &1, &52, &400, &9_000]))),
        4 => (0..*random.one_of(&[&1, &31, &40])).fold(node.take(), |inner, _| vec![inner].into()),
        _ => return change_inside(random, node),
    };
    *node = other;
}

/// Members that are missing, renamed or too many.
fn change_inside(random: &mut Random, node: &mut Value) {
    let counts = [&1, &2, &11, &33, &54, &1_001];
    match node {
        Value::Array(items) if !items.is_empty() => {
            let at = random.below(items.len());
            if random.below(3) == 0 {
                items.remove(at);
            } else {
                items.extend(vec![items[at].clone(); *random.one_of(&counts)]);
            }
        }
        Value::Object(members) if !members.is_empty() => {
            let names: Vec<String> = members.keys().cloned().collect();
            let name = &names[random.below(names.len())];
            let other = &names[random.below(names.len())];
            let value = members.remove(name).unwrap_or_default();
            match random.below(4) {
                0 => (),
                1 => drop(members.insert(format!("{name}x"), value)),
                2 => drop(members.insert(other.clone(), value)),
                _ => drop(members.insert(name.clone(), Value::Array(vec![value]))),
            }
        }
        Value::String(text) => {
            let mut bytes = std::mem::take(text).into_bytes();
            change_bytes(random, &mut bytes);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        other => *other = Value::Bool(true),
    }
}

/// The first member of an object a second time, which no JSON value can hold.
fn repeat_member(random: &mut Random, case: &mut Vec<u8>) {
    let opens: Vec<usize> =
        (0..case.len()).filter(|at| case[*at] == b'{' && case.get(at + 1) == Some(&b'"')).collect();
    let Some(&open) = opens.get(random.below(opens.len())) else { return };
    let Some(end) = case[open..].iter().position(|byte| matches!(byte, b',' | b'}')) else {
        return;
    };
    let mut member = case[open + 1..open + end].to_vec();
    member.push(b',');
    case.splice(open + 1..open + 1, member).for_each(drop);
}
