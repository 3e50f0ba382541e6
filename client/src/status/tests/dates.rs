//! Whether the times in a file let a model pass.

use tempfile::TempDir;
use treering_proto::dsse_envelope::{Envelope, pae};
use treering_proto::trust::Signer;
use treering_proto::trust::model_policy::{ApprovalsRule, Rule};
use treering_proto::verifier::Verifier;

use super::*;
use crate::certificate_chain::tests::{authority, leaf};
use crate::history::Verdict;
use crate::private_key::PrivateKey;
use crate::submit::request_json;

const NAME: &str = "https://ci.example/job";

#[tokio::test]
async fn no_certificate_lets_a_model_pass_by_a_time_that_only_the_file_tells() {
    let dir = TempDir::new().unwrap();
    let root = authority(dir.path(), "root");
    let certificate = leaf(dir.path(), "root", "extendedKeyUsage=codeSigning");
    let (valid, later) = (certificate.not_before() + 60, certificate.not_after() + 60);
    let key = PrivateKey::load(&dir.path().join("l.key"), || unreachable!()).unwrap();
    let mut world = World::new(3);
    world.witnesses = vec![5];
    let qa = Signer::Identity { identity: NAME.to_owned(), issuer: None };
    let rule = SignerRule { name: "qa".to_owned(), who: qa };
    let roles = BTreeMap::from([("qa".to_owned(), vec![rule])]);
    let action = Action::Refuse;
    world.policy.approvals = Some(ApprovalsRule { action, count: 1, roles });
    let llama = model("llama", "w");
    let own = world.say(&world.alice, llama.to_payload());
    let notice = Notice {
        kind: NoticeKind::Approve { role: "qa".to_owned() },
        log: ORIGIN.to_owned(),
        about: own,
        model_id: model_id(&llama),
        root: llama.root(),
        name: Some("llama".to_owned()),
        reason: None,
    };
    let payload = notice.to_payload().unwrap();
    let signature = key.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload)).unwrap();
    let envelope = Envelope::new(IN_TOTO_PAYLOAD_TYPE, payload, signature);
    let verifier = Verifier::Certificate(Box::new(certificate));
    let entry = VerifiedEntry::from_v1_request(&request_json(&envelope, &verifier)).unwrap();
    let approval = world.admit(&entry).index;
    let subject = world.subject(own, &llama);
    let mut trust = world.trust();
    trust.certificate_authorities = vec![root];
    let verdict = |status: &Status, time: u64| {
        let proven = history_from_status(&status.format(), &trust, &[], later).unwrap();
        assert_eq!(proven.history.seen[&approval].time.map(|time| time.seconds), Some(time));
        let signers = world.signers();
        let believed = Believed { policy: &trust.model_policy, signers: &signers };
        let findings = judge_undated(believed, &subject, Some(&proven.history), later);
        findings.into_iter().find(|finding| finding.rule == Rule::Approvals).unwrap().verdict
    };
    // Whoever made the file chose the time at which the certificate was valid.
    for (tree, verdicts) in [(later, Verdict::Unknown), (valid, Verdict::Holds)] {
        world.served.log.lock().unwrap().witnesses = vec![(5, tree)];
        let mut status = world.gather(&subject).await.unwrap().status;
        for time in [valid, later] {
            status.entries.get_mut(&approval).unwrap().time = Some(time);
            assert_eq!(verdict(&status, time), verdicts, "{tree} {time}");
        }
    }
    // Who has no such certificate is refused whatever the times.
    let mut other = world.trust();
    other.certificate_authorities = vec![authority(dir.path(), "other")];
    let status = world.gather(&subject).await.unwrap().status;
    let proven = history_from_status(&status.format(), &other, &[], later).unwrap();
    let signers = world.signers();
    let believed = Believed { policy: &trust.model_policy, signers: &signers };
    let findings = judge_undated(believed, &subject, Some(&proven.history), later);
    let approvals = findings.iter().find(|finding| finding.rule == Rule::Approvals).unwrap();
    assert_eq!(approvals.verdict, Verdict::Against);
}
