//! Whether a policy may count one operator twice: an Ed25519 and an ML-DSA-44 key of one name are
//! two witnesses to it, and fine only as alternatives.
//!
//! Out of scope: operators who use two names.

use super::{Component, Policy};

impl Policy {
    /// The name of two witness keys that count as two: the smallest group that holds both is not
    /// an `any` group. `None` if there is no such pair.
    pub fn counted_twice(&self) -> Option<&str> {
        let parents = self.parents();
        let above = |at: usize| std::iter::successors(Some(at), |at| parents[*at]);
        let witnesses = self.components.iter().enumerate();
        let witnesses: Vec<(usize, &str)> = witnesses
            .filter_map(|(at, component)| Some((at, component.witness()?.key.name())))
            .collect();
        let mut pairs = witnesses
            .iter()
            .enumerate()
            .flat_map(|(nth, one)| witnesses[nth + 1..].iter().map(move |other| (one, other)));
        let twice = |(one, other): &(&(usize, &str), &(usize, &str))| {
            let common = above(one.0).find(|group| above(other.0).any(|at| at == *group));
            let adds_up = |group: usize| match &self.components[group] {
                Component::Group { threshold, .. } => *threshold > 1,
                Component::Witness(_) => false,
            };
            one.1 == other.1 && common.is_some_and(adds_up)
        };
        pairs.find(twice).map(|(one, _)| one.1)
    }

    /// The group that each component is a member of.
    fn parents(&self) -> Vec<Option<usize>> {
        let mut parents = vec![None; self.components.len()];
        for (at, component) in self.components.iter().enumerate() {
            if let Component::Group { members, .. } = component {
                members.iter().for_each(|member| parents[*member] = Some(at));
            }
        }
        parents
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::NoteKey;

    #[test]
    fn two_keys_of_one_name_count_once_in_an_any_group_only() {
        let vkey = |name: &str, seed: u8| {
            let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
            NoteKey::cosignature(name, key.verifying_key().as_bytes()).unwrap().to_vkey()
        };
        let keys = format!(
            "witness a1 {}\nwitness a2 {}\nwitness b {}\n",
            vkey("a.example", 1),
            vkey("a.example", 2),
            vkey("b.example", 3)
        );
        for (groups, twice) in [
            ("group q all a1 a2\nquorum q\n", true),
            ("group q 2 a1 a2 b\nquorum q\n", true),
            ("group x all a1 b\ngroup q all x a2\nquorum q\n", true),
            ("group x any a1 a2\ngroup q all x b\nquorum q\n", false),
            ("group q any a1 a2 b\nquorum q\n", false),
            ("group q all a1 b\nquorum q\n", false),
        ] {
            let policy = Policy::parse(format!("{keys}{groups}").as_bytes()).unwrap();
            assert_eq!(policy.counted_twice(), twice.then_some("a.example"), "{groups}");
        }
    }
}
