//! The false-alarm table: a thousand teams that do nothing wrong, and no refusal.
//!
//! After every step of a history, what an honest verifier would use then is verified: the newest
//! model of each name, or the one that was rolled back to, and every bundle of it. The seed is
//! fixed, so that a refusal can be looked at again.

use std::collections::BTreeMap;

use treering_proto::notice::EntryRef;
use treering_proto::trust::model_policy::Rule;

use super::super::Verdict;
use super::world::{Bytes, Person, World, model};

const HISTORIES: u64 = 1_000;
const SEED: u64 = 0x7472_6565_7269_6e67;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// How a team numbers its models.
#[derive(Clone, Copy)]
enum Numbering {
    Nothing,
    Numbers,
    Semantic,
}

/// One model that the team publishes, under one name.
struct Published {
    name: String,
    /// What was released, oldest first, with its entry.
    releases: Vec<(Bytes, EntryRef)>,
    /// What a verifier uses now: all entries of it.
    current: Vec<EntryRef>,
    /// The release that is in use.
    in_use: usize,
    numbering: Numbering,
    number: u64,
    version: [u64; 3],
    retired: bool,
}

/// A team and its log.
struct Team {
    world: World,
    random: Random,
    keys: Vec<Person>,
    accepted: usize,
    models: Vec<Published>,
    made: u64,
    day: f64,
}

#[derive(Default)]
struct Table {
    steps: BTreeMap<&'static str, u64>,
    entries: u64,
    verified: u64,
    replayed: u64,
    warnings: BTreeMap<Rule, u64>,
}

impl Team {
    fn new(seed: u64) -> Self {
        let random = Random(seed);
        let world = World::default();
        let keys = vec![Person::new(&format!("team {seed} key 0"))];
        let (models, made, day, accepted) = (Vec::new(), 0, 0.0, 0);
        let mut team = Self { world, random, keys, accepted, models, made, day };
        team.publish("base", &[]);
        team
    }

    fn signer(&self) -> Person {
        self.keys.last().expect("a team has a key").clone()
    }

    fn pass_time(&mut self, days: f64) {
        self.day += days;
        self.world.on_day(self.day);
    }

    fn bytes(&mut self, name: &str, shared: &[String]) -> Bytes {
        self.made += 1;
        let made = self.made;
        let mut bytes = model(name, &format!("{name} bytes {made}"))
            .weights(&[&format!("{name} {made} shard 1"), &format!("{name} {made} shard 2")]);
        bytes.weights.extend_from_slice(shared);
        bytes
    }

    /// A new name, with a first release.
    fn publish(&mut self, kind: &str, shared: &[String]) {
        let name = format!("{kind}-{}", self.made);
        let numbering = match self.random.below(3) {
            0 => Numbering::Nothing,
            1 => Numbering::Numbers,
            _ => Numbering::Semantic,
        };
        self.models.push(Published {
            name,
            releases: Vec::new(),
            current: Vec::new(),
            in_use: 0,
            numbering,
            number: 0,
            version: [0; 3],
            retired: false,
        });
        self.release(self.models.len() - 1, shared);
    }

    fn release(&mut self, at: usize, shared: &[String]) {
        let name = self.models[at].name.clone();
        let mut bytes = self.bytes(&name, shared);
        let part = self.random.below(3) as usize;
        let published = &mut self.models[at];
        published.number += 1;
        published.version[part] += 1;
        published.version[part + 1..].fill(0);
        let [major, minor, patch] = published.version;
        bytes = match published.numbering {
            Numbering::Nothing => bytes,
            Numbering::Numbers => bytes.version(&published.number.to_string()),
            Numbering::Semantic => bytes.version(&format!("{major}.{minor}.{patch}")),
        };
        let signer = self.signer();
        // A tool that knows `hashedrekord` only, and the bundle shown soon after.
        let mut current = Vec::new();
        if self.random.below(8) == 0 {
            current.push(self.world.sign_digest(&signer, &bytes));
        }
        let entry = self.world.sign(&signer, &bytes);
        current.push(entry);
        let published = &mut self.models[at];
        published.releases.push((bytes, entry));
        published.in_use = published.releases.len() - 1;
        published.current = current;
    }

    /// One more thing that a team does, and what it is called.
    fn step(&mut self) -> &'static str {
        let days = self.random.below(60_000) as f64 / 1_000.0;
        self.pass_time(days);
        let alive: Vec<usize> =
            (0..self.models.len()).filter(|at| !self.models[*at].retired).collect();
        let at = alive[self.random.below(alive.len() as u64) as usize];
        let weights = self.models[at].releases[0].0.weights.clone();
        match self.random.below(10) {
            0..=2 => {
                self.release(at, &[]);
                "new version"
            }
            3 => {
                // Frozen layers: one file is that of the base.
                self.publish("fine-tune", &weights[..1]);
                "fine-tune"
            }
            4 => {
                // Tokenizer and configuration are those of the base; they are no weights.
                self.publish("adapter", &[]);
                "adapter"
            }
            5 => {
                self.renew(at);
                "renewal"
            }
            6 => self.roll_back(at),
            7 => {
                self.rename(at);
                "rename announced by supersede"
            }
            8 => {
                self.rotate();
                "key rotation"
            }
            _ => {
                self.sign_again(at);
                "signed twice within a month"
            }
        }
    }

    fn renew(&mut self, at: usize) {
        let published = &self.models[at];
        let (bytes, entry) = published.releases[published.in_use].clone();
        let entry = self.world.sign(&self.signer(), &bytes.renews(entry));
        let published = &mut self.models[at];
        published.current.push(entry);
        published.releases[published.in_use].1 = entry;
    }

    fn roll_back(&mut self, at: usize) -> &'static str {
        let newest = self.models[at].releases.len() - 1;
        if newest == 0 || self.models[at].in_use != newest {
            self.release(at, &[]);
            return "new version";
        }
        let to = self.random.below(newest as u64) as usize;
        let (_, instead_of) = self.models[at].releases[newest];
        let (bytes, old) = self.models[at].releases[to].clone();
        // Whoever lost the old key signs the old model anew.
        let signed = match self.signed_by_newest_key(old) {
            true => old,
            false => self.world.sign(&self.signer(), &bytes.renews(old)),
        };
        self.world.roll_back(&self.signer(), signed, instead_of);
        let published = &mut self.models[at];
        published.releases[to].1 = signed;
        (published.in_use, published.current) = (to, vec![signed]);
        "approved rollback"
    }

    fn signed_by_newest_key(&self, entry: EntryRef) -> bool {
        self.world.subject(entry).signed_by == self.signer().who
    }

    /// The same model under a new name.
    fn rename(&mut self, at: usize) {
        let signer = self.signer();
        let published = &self.models[at];
        let (mut bytes, old) = published.releases[published.in_use].clone();
        let old = match self.signed_by_newest_key(old) {
            true => old,
            false => self.world.sign(&signer, &bytes.clone().renews(old)),
        };
        self.made += 1;
        let name = format!("renamed-{}", self.made);
        bytes.model.name = Some(name.clone());
        if let Some(said) = &mut bytes.model.said {
            said.renews = None;
        }
        let new = self.world.sign(&signer, &bytes);
        self.world.supersede(&signer, old, new);
        let published = &mut self.models[at];
        published.retired = true;
        let (numbering, number) = (published.numbering, published.number);
        let version = published.version;
        let releases = vec![(bytes, new)];
        let current = vec![new];
        self.models.push(Published {
            name,
            releases,
            current,
            in_use: 0,
            numbering,
            number,
            version,
            retired: false,
        });
    }

    /// A new key: all that is in use is signed with it, and perhaps the old key is not accepted
    /// any more. What was rolled back to is approved again, since the old key's word is gone.
    fn rotate(&mut self) {
        self.keys.push(Person::new(&format!("{} {}", self.keys[0].rule.name, self.keys.len())));
        let drop_old = self.random.below(2) == 0;
        for at in 0..self.models.len() {
            if self.models[at].retired {
                continue;
            }
            self.renew(at);
            let signer = self.signer();
            let published = &mut self.models[at];
            let newest = published.releases.len() - 1;
            let (renewed, instead_of) =
                (published.releases[published.in_use].1, published.releases[newest].1);
            if drop_old {
                published.current = vec![renewed];
            }
            if published.in_use != newest {
                self.world.roll_back(&signer, renewed, instead_of);
            }
        }
        if drop_old {
            self.accepted = self.keys.len() - 1;
        }
    }

    /// A build that ran twice.
    fn sign_again(&mut self, at: usize) {
        self.release(at, &[]);
        self.pass_time(20.0);
        let (bytes, _) = self.models[at].releases.last().expect("just released").clone();
        let entry = self.world.sign(&self.signer(), &bytes);
        self.models[at].current.push(entry);
    }

    /// Verifies what an honest verifier would use now.
    fn verify(&self, table: &mut Table) {
        let people: Vec<&Person> = self.keys[self.accepted..].iter().collect();
        for published in self.models.iter().filter(|published| !published.retired) {
            for entry in &published.current {
                let judged = self.world.recommended(&people, *entry);
                let refusing: Vec<String> = judged
                    .refusing()
                    .into_iter()
                    .map(|rule| format!("{}: {}", rule.name(), judged.text(rule)))
                    .collect();
                assert!(refusing.is_empty(), "{} {entry:?}: {refusing:#?}", published.name);
                table.verified += 1;
                for rule in judged.warning() {
                    *table.warnings.entry(rule).or_default() += 1;
                }
            }
        }
    }
}

impl Team {
    /// The control: whoever replays what the team does not use any more is refused.
    fn replay(&self, table: &mut Table) {
        let people: Vec<&Person> = self.keys[self.accepted..].iter().collect();
        for published in self.models.iter().filter(|published| !published.retired) {
            for (_, entry) in &published.releases[..published.in_use] {
                let judged = self.world.recommended(&people, *entry);
                let refused = judged.verdict(Rule::NotNewest) == Verdict::Against;
                assert!(refused, "{} {entry:?} was replayed", published.name);
                table.replayed += 1;
            }
        }
    }
}

#[test]
fn a_thousand_honest_histories_and_no_refusal() {
    let mut table = Table::default();
    for seed in SEED..SEED + HISTORIES {
        let mut team = Team::new(seed);
        for _ in 0..4 + team.random.below(9) {
            *table.steps.entry(team.step()).or_default() += 1;
            team.verify(&mut table);
        }
        team.replay(&mut table);
        table.entries += team.world.len();
    }
    println!("honest histories          {HISTORIES:>8}");
    println!("entries                   {:>8}", table.entries);
    for (step, count) in &table.steps {
        println!("  {step:<32}{count:>8}");
    }
    println!("verified                  {:>8}", table.verified);
    println!("refused                          0");
    for (rule, count) in &table.warnings {
        println!("  warned by {:<22}{count:>8}", rule.name());
    }
    println!("old bundles replayed      {:>8}", table.replayed);
    println!("refused                   {:>8}", table.replayed);
    assert!(table.replayed > 1_000, "the control found something to replay");
    assert_eq!(table.steps.len(), 8, "every kind of step was taken");
    assert!(table.steps.values().all(|count| *count >= 300), "and often: {:?}", table.steps);
    // Only what is true is told: files that are shared with a base.
    assert_eq!(table.warnings.keys().collect::<Vec<_>>(), [&Rule::WeightsFirstSeen]);
}
