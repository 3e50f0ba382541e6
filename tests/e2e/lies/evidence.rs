//! Evidence convicts only as it was made: whatever one byte of it becomes, nobody is convicted by
//! it.

use std::fs;

use treering_proto::encoding::{from_base64, to_base64};
use treering_proto::hash::sha256;
use treering_tests::convictions::{self, Conviction};
use treering_tests::random::Random;
use treering_tests::server::text;

use super::{Person, log_of};

/// Changes of each file; all of them would take minutes.
const CHANGES: usize = 15;

/// Lines whose text is what was signed, what signs, or what leads from one to the other.
const PROVING_LINES: [&str; 7] =
    ["note 0", "note 1", "altroot", "proof consistency", "proof inclusion", "set", "promised"];

/// Evidence with one byte of what proves changed, and the sum made right again by whoever did it.
fn forged(evidence: &str, random: &mut Random) -> String {
    let (sealed, seen) = evidence.split_at(evidence.find("sum ").unwrap());
    let seen = seen.split_once('\n').unwrap().1;
    let mut lines: Vec<String> = sealed.lines().map(str::to_owned).collect();
    let name_of = |line: &str| PROVING_LINES.into_iter().find(|name| line.starts_with(name));
    let proving: Vec<usize> =
        (0..lines.len()).filter(|at| name_of(&lines[*at]).is_some()).collect();
    let line = &mut lines[proving[random.below(proving.len() as u64) as usize]];
    let name = name_of(line).unwrap();
    let mut values: Vec<Vec<u8>> =
        line[name.len()..].split_whitespace().map(|value| from_base64(value).unwrap()).collect();
    let count = values.len() as u64;
    let value = &mut values[random.below(count) as usize];
    let at = random.below(value.len() as u64) as usize;
    value[at] ^= 1 << random.below(8);
    let values: Vec<String> = values.iter().map(|value| to_base64(value)).collect();
    *line = format!("{name} {}", values.join(" "));
    let sealed = lines.join("\n") + "\n";
    let sum = to_base64(sha256(sealed.as_bytes()).as_bytes());
    format!("{sealed}sum {sum}\n{seen}")
}

/// `evidence verify` convicts nobody by this text.
fn convicts_nobody(person: &Person, evidence: &[u8], what: &str) {
    let file = person.path("changed.evidence");
    fs::write(&file, evidence).unwrap();
    let said = person.run(&["evidence", "verify", text(&file)]);
    let verdict = said.json()["verdict"].to_string();
    assert!(!verdict.contains("proven-"), "{what}: {said:?}");
    assert!(matches!(said.code, Some(1 | 2)), "{what}: {said:?}");
}

#[test]
fn whatever_byte_of_it_is_changed_it_convicts_nobody() {
    let mut random = Random::seeded("evidence");
    for Conviction { name, person, kept, verdict } in convictions::all() {
        if !convictions::convicts(verdict) {
            continue;
        }
        let bytes = fs::read(&kept.path).unwrap();
        let whole = String::from_utf8(bytes.clone()).unwrap();
        let end = whole.find("seen ").unwrap();
        for _ in 0..CHANGES {
            let mut changed = bytes.clone();
            let at = random.below(end as u64) as usize;
            changed[at] ^= 1 << random.below(7);
            convicts_nobody(&person, &changed, &format!("{name}: byte {at}"));
            let forged = forged(&whole, &mut random);
            convicts_nobody(&person, forged.as_bytes(), &format!("{name}: {forged}"));
        }
    }
}

#[test]
fn it_convicts_the_log_whose_keys_one_trusts_and_no_other() {
    let (keys, _) = log_of(0);
    let stranger = Person::new(&keys, "http://127.0.0.1");
    for Conviction { person, kept, verdict, .. } in convictions::all() {
        person.judges(&kept.path, verdict);
        stranger.judges(&kept.path, "not-proven");
    }
}
