//! Is a Rekor v1 answer about an entry one that a stock v1 client accepts, and the trusted log's?
//!
//! Invariant: what passes has a signed entry timestamp and a checkpoint that verify under the key
//! of the log's identity document, and an inclusion proof that leads to that checkpoint. Out of
//! scope: whether that tree is the one that witnesses saw (see `treering audit`), and the time.

use treering_proto::api::v1::LogEntry;
use treering_proto::checkpoint::open_checkpoint;
use treering_proto::encoding::from_hex_lower;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::proof::check_inclusion;
use treering_proto::tree::LeafIndex;
use treering_proto::trust::TrustFile;

use super::promise::promise_in;
use crate::verify::is_promised;

/// Why an answer is not worth keeping.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RekorV1Fault {
    /// There is nothing to verify it with.
    #[error("the trust file has no identity document, which says who signs for Rekor v1")]
    NoIdentity,
    /// It does not hold.
    #[error("the Rekor v1 proof does not hold: {0}")]
    False(&'static str),
}

/// Verifies `answer` about the entry at `index` with the canonical bytes `body`.
///
/// # Errors
/// [`RekorV1Fault`].
pub fn check_answer(
    trust: &TrustFile,
    answer: &LogEntry,
    index: LeafIndex,
    body: &[u8],
) -> Result<(), RekorV1Fault> {
    let identity = &trust.log.identity.as_ref().ok_or(RekorV1Fault::NoIdentity)?.identity;
    let promise = promise_in(answer, body).filter(|promise| promise.index == index);
    if !promise.is_some_and(|promise| is_promised(trust, &promise)) {
        return Err(RekorV1Fault::False("the log did not sign this time for this entry and index"));
    }
    let proof = &answer.verification.inclusion_proof;
    let (origin, key) = (identity.v1_origin(), identity.v1_note_key());
    let head = open_checkpoint(proof.checkpoint.as_bytes(), &origin, &[key])
        .map_err(|_| RekorV1Fault::False("the log did not sign its checkpoint"))?
        .head();
    let hash = |text: &String| Hash::from_slice(&from_hex_lower(text)?);
    let hashes: Option<Vec<Hash>> = proof.hashes.iter().map(hash).collect();
    let claims_hold = answer.log_id == identity.v1_log_id().to_hex()
        && proof.log_index == index.get()
        && proof.tree_size == head.size.get()
        && proof.root_hash == head.root.to_hex();
    let is_included =
        hashes.is_some_and(|hashes| check_inclusion(index, head, hash_leaf(body), &hashes).is_ok());
    if claims_hold && is_included {
        Ok(())
    } else {
        Err(RekorV1Fault::False("its path does not lead to its checkpoint"))
    }
}

#[cfg(test)]
mod tests {
    use treering_proto::api::v1::LogEntries;
    use treering_proto::tree::TreeSize;

    use super::*;
    use crate::test_log::TestLog;

    #[test]
    fn each_part_of_an_answer_must_hold() {
        let log = TestLog::filled(1, 2);
        let mut trust = log.trust("https://log.example", Vec::new(), &[]);
        let (index, body) = (LeafIndex::new(1).unwrap(), log.bodies[1].clone());
        let head = log.head(TreeSize::new(2).unwrap());
        let answered: LogEntries = serde_json::from_slice(&log.v1_signed(1).unwrap()).unwrap();
        let mut good = answered.into_values().next().unwrap();
        let proof = &mut good.verification.inclusion_proof;
        proof.hashes = vec![hash_leaf(&log.bodies[0]).to_hex()];
        proof.checkpoint = log.v1_note(head);
        proof.root_hash = head.root.to_hex();
        assert_eq!(check_answer(&trust, &good, index, &body), Err(RekorV1Fault::NoIdentity));
        trust.log.identity = Some(log.identity_document());
        assert_eq!(check_answer(&trust, &good, index, &body), Ok(()));
        for change in [
            |entry: &mut LogEntry| entry.integrated_time += 1,
            |entry: &mut LogEntry| entry.log_index = 0,
            |entry: &mut LogEntry| entry.log_id = String::new(),
            |entry: &mut LogEntry| entry.verification.signed_entry_timestamp.clear(),
            |entry: &mut LogEntry| entry.verification.inclusion_proof.hashes.clear(),
            |entry: &mut LogEntry| entry.verification.inclusion_proof.tree_size += 1,
            |entry: &mut LogEntry| entry.verification.inclusion_proof.log_index = 0,
            |entry: &mut LogEntry| entry.verification.inclusion_proof.root_hash.clear(),
            |entry: &mut LogEntry| {
                let note = &mut entry.verification.inclusion_proof.checkpoint;
                *note = note.replacen("\n2\n", "\n3\n", 1);
            },
        ] {
            let mut bad = good.clone();
            change(&mut bad);
            let checked = check_answer(&trust, &bad, index, &body);
            assert!(matches!(checked, Err(RekorV1Fault::False(_))), "{bad:?}");
        }
    }
}
