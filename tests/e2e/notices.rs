//! What is said about models that are logged: notices and renewals, by whom and about what the log
//! takes them (`docs/access.md`).

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use treering_proto::encoding::to_base64;
use treering_proto::hash::{Hash, sha256};
use treering_proto::model_id::model_id;
use treering_proto::model_statement::{ModelStatement, Resource};
use treering_proto::notice::{EntryRef, Notice, NoticeKind, Successor};
use treering_proto::tree::LeafIndex;
use treering_tests::certificate::certificate_pem;
use treering_tests::http::Connection;
use treering_tests::server::{Log, run, text};
use treering_tests::submission::{Answer, Face, Signer, Submission, dsse_v1, envelope, submit};

use crate::backup::take_backup;
use crate::gate::lines;

/// A model of one file, which holds `content`.
fn model(name: &str, content: &str) -> ModelStatement {
    let digest = sha256(content.as_bytes()).as_bytes().to_vec();
    let file = Resource { name: "weights.gguf".to_owned(), digest };
    ModelStatement::new_files(name, vec![file], Vec::new(), None).unwrap()
}

/// Logs it, and says where it is.
fn logged(connection: &mut Connection, submission: &Submission) -> EntryRef {
    match submit(connection, submission).unwrap() {
        Answer::Logged { index, .. } => {
            EntryRef { index: LeafIndex::new(index).unwrap(), leaf: submission.entry.leaf() }
        }
        other => panic!("{other:?}"),
    }
}

fn logged_model(connection: &mut Connection, model: &ModelStatement, by: &Signer) -> EntryRef {
    logged(connection, &Submission::dsse(Face::V1, by, &model.to_payload()))
}

/// What the log says about a submission: the status, and the label if it is a refusal.
fn outcome(connection: &mut Connection, submission: &Submission) -> (u16, String) {
    let response = connection.post(submission.face.path(), &submission.request).unwrap();
    let label = response.header("treering-error").unwrap_or("-").to_owned();
    assert!(response.status < 500, "{}", response.text());
    (response.status, label)
}

fn refusal(status: u16, label: &str) -> (u16, String) {
    (status, label.to_owned())
}

fn admitted() -> (u16, String) {
    refusal(201, "-")
}

/// A model in a log, and who signed it.
struct Scene {
    log: Log,
    signer: Signer,
    model: ModelStatement,
    about: EntryRef,
}

impl Scene {
    /// The model `llm-7b` in a log of its own, which is not served any more.
    fn new() -> Self {
        let (log, signer, model) = (Log::create(), Signer::new(), model("llm-7b", "weights"));
        let server = log.serve();
        let about = logged_model(&mut server.connect(), &model, &signer);
        assert_eq!(server.terminate().code(), Some(0));
        Self { log, signer, model, about }
    }

    /// A notice about the model.
    fn notice(&self, kind: NoticeKind) -> Notice {
        Notice {
            kind,
            log: self.log.identity.origin().to_owned(),
            about: self.about,
            model_id: model_id(&self.model),
            root: self.model.root(),
            name: self.model.name().map(str::to_owned),
            reason: Some("a test says so".to_owned()),
        }
    }
}

fn signed(face: Face, notice: &Notice, by: &Signer) -> Submission {
    Submission::dsse(face, by, &notice.to_payload().unwrap())
}

fn approval() -> NoticeKind {
    NoticeKind::Approve { role: "security".to_owned() }
}

#[test]
fn a_signer_takes_back_what_they_signed_and_everybody_finds_it_by_the_model() {
    let scene = Scene::new();
    let server = scene.log.serve();
    let mut connection = server.connect();
    let next = model("llm-8b", "more weights");
    let newer = logged_model(&mut connection, &next, &scene.signer);
    let by = Successor { entry: newer, model_id: model_id(&next) };
    let mut indexes = Vec::new();
    for face in [Face::V1, Face::V2] {
        for kind in [
            NoticeKind::Revoke,
            NoticeKind::Supersede { by },
            NoticeKind::ApproveRollback { instead_of: newer },
            approval(),
        ] {
            let notice = signed(face, &scene.notice(kind), &scene.signer);
            indexes.push(logged(&mut connection, &notice).index.get());
            assert_eq!(outcome(&mut connection, &notice), refusal(409, "duplicate"));
        }
    }
    let id = model_id(&scene.model);
    let path =
        format!("/api/treering/v1/search?artifact-digest=treering-model-id:{id}&order=oldest");
    let found = connection.get(&path).unwrap().json();
    let found = found["entries"].as_array().unwrap().iter();
    let found = found.map(|entry| entry["index"].as_str().unwrap().parse().unwrap());
    assert_eq!(found.collect::<Vec<u64>>(), indexes);
}

#[test]
fn a_stranger_may_approve_and_nothing_else_and_the_journal_says_so() {
    let scene = Scene::new();
    let server = scene.log.serve();
    let mut connection = server.connect();
    let next = model("llm-8b", "more weights");
    let stranger = Signer::new();
    let newer = logged_model(&mut connection, &next, &stranger);
    let by = Successor { entry: newer, model_id: model_id(&next) };
    let mut refused = Vec::new();
    for face in [Face::V1, Face::V2] {
        for kind in [
            NoticeKind::Revoke,
            NoticeKind::Supersede { by },
            NoticeKind::ApproveRollback { instead_of: newer },
        ] {
            let notice = signed(face, &scene.notice(kind), &stranger);
            assert_eq!(outcome(&mut connection, &notice), refusal(403, "notice-signer"));
            refused.push(notice.entry.leaf().to_hex());
        }
        // Of a flood of refusals to people whom nobody knows not each has a line of its own.
        refused.truncate(3);
        let approval = signed(face, &scene.notice(approval()), &stranger);
        assert_eq!(outcome(&mut connection, &approval), admitted());
    }
    // Beside the signer's own signature a stranger's is one too many.
    let payload = scene.notice(NoticeKind::Revoke).to_payload().unwrap();
    let mut both = envelope(&scene.signer, &payload);
    let second = envelope(&stranger, &payload)["signatures"][0].clone();
    both["signatures"].as_array_mut().unwrap().push(second);
    let keys = [scene.signer.pem_base64(), stranger.pem_base64()];
    let both = dsse_v1(&both.to_string(), &keys).to_string();
    let response = connection.post(Face::V1.path(), both.as_bytes()).unwrap();
    assert_eq!(response.header("treering-error"), Some("notice-signer"), "{}", response.text());
    assert_eq!(server.size(), 4, "two models and two approvals");
    assert_eq!(server.terminate().code(), Some(0));

    let lines = lines(&scene.log);
    for leaf in refused {
        let line = lines.iter().find(|line| line["leaf"] == leaf.as_str());
        let line = line.unwrap_or_else(|| panic!("no line about {leaf}: {lines:#?}"));
        assert_eq!((&line["act"], &line["outcome"]), (&json!("refuse"), &json!("notice-signer")));
        assert_eq!(line.get("index"), None);
    }
}

#[test]
fn a_certificate_of_the_same_names_is_the_same_signer() {
    let (log, first, second) = (Log::create(), Signer::new(), Signer::new());
    let server = log.serve();
    let mut connection = server.connect();
    let model = model("llm-7b", "weights");
    let certified = |by: &Signer, email: &str, payload: &[u8]| {
        let pem = to_base64(certificate_pem(by, email, 0).as_bytes());
        dsse_v1(&envelope(by, payload).to_string(), &[pem]).to_string()
    };
    let entry = certified(&first, "ci@corp.example", &model.to_payload());
    let logged = connection.post(Face::V1.path(), entry.as_bytes()).unwrap();
    assert_eq!(logged.status, 201, "{}", logged.text());
    let entry = treering_proto::entry::VerifiedEntry::from_v1_request(entry.as_bytes()).unwrap();
    let about = EntryRef { index: LeafIndex::new(0).unwrap(), leaf: entry.leaf() };
    let scene = Scene { log, signer: first, model, about };
    let revocation = scene.notice(NoticeKind::Revoke).to_payload().unwrap();
    for (email, expected) in [("cd@corp.example", Some("notice-signer")), ("ci@corp.example", None)]
    {
        let notice = certified(&second, email, &revocation);
        let answer = connection.post(Face::V1.path(), notice.as_bytes()).unwrap();
        assert_eq!(answer.header("treering-error"), expected, "{email}: {}", answer.text());
    }
}

/// A policy with this recovery alone; who may write is left to `--open-writes`.
fn write_policy(log: &Log, recovery: &Signer, names: &str) -> PathBuf {
    let key = recovery.key.fingerprint();
    let policy = format!("[[recovery]]\nname='r'\nkeys=['sha256:{key}']\nnames=[{names}]\n");
    let (new, path) = (log.beside("access.new"), log.beside("access.toml"));
    fs::write(&new, policy).unwrap();
    fs::rename(&new, &path).unwrap();
    path
}

#[test]
fn a_recovery_key_of_the_policy_speaks_for_the_models_that_it_is_for() {
    let scene = Scene::new();
    let (recovery, other) = (Signer::new(), Signer::new());
    let revocation = |reason: &str| Notice {
        reason: Some(reason.to_owned()),
        ..scene.notice(NoticeKind::Revoke)
    };
    let first = signed(Face::V1, &revocation("the signer's key is lost"), &recovery);
    let server = scene.log.serve();
    assert_eq!(outcome(&mut server.connect(), &first), refusal(403, "notice-signer"));
    assert_eq!(server.terminate().code(), Some(0));

    let policy = write_policy(&scene.log, &recovery, "'llm-*'");
    let flags = ["--open-writes", "--access-policy", text(&policy)];
    let server = scene.log.serve_with(&flags, None);
    let mut connection = server.connect();
    let stranger = signed(Face::V2, &revocation("says a stranger"), &other);
    assert_eq!(outcome(&mut connection, &stranger), refusal(403, "notice-signer"));
    assert_eq!(outcome(&mut connection, &first), admitted());
    // The policy counts as it is now.
    write_policy(&scene.log, &recovery, "'vision-*'");
    let second = signed(Face::V2, &revocation("once more"), &recovery);
    assert_eq!(outcome(&mut connection, &second), refusal(403, "notice-signer"));
    assert_eq!(outcome(&mut connection, &first), refusal(409, "duplicate"), "it is logged");
    write_policy(&scene.log, &other, "'llm-*'");
    assert_eq!(outcome(&mut connection, &second), refusal(403, "notice-signer"));
    write_policy(&scene.log, &recovery, "");
    assert_eq!(outcome(&mut connection, &second), admitted());
}

#[test]
fn a_notice_is_about_what_is_logged_here_and_is_that_model() {
    let scene = Scene::new();
    let server = scene.log.serve();
    let mut connection = server.connect();
    let digest = Submission::hashedrekord(Face::V1, &scene.signer, b"weights");
    let digest = logged(&mut connection, &digest);
    let next = model("llm-8b", "more weights");
    let newer = logged_model(&mut connection, &next, &scene.signer);
    let beyond = EntryRef { index: LeafIndex::new(100).unwrap(), ..newer };
    let other_leaf = EntryRef { leaf: Hash([7; 32]), ..scene.about };
    let good = scene.notice(NoticeKind::Revoke);
    let by = |entry, id: &ModelStatement| NoticeKind::Supersede {
        by: Successor { entry, model_id: model_id(id) },
    };
    for (notice, label) in [
        (Notice { log: "other.example".into(), ..good.clone() }, "notice-other-log"),
        (Notice { about: beyond, ..good.clone() }, "notice-entry"),
        (Notice { about: other_leaf, ..good.clone() }, "notice-entry"),
        (Notice { about: digest, ..good.clone() }, "notice-model"),
        (Notice { about: newer, ..good.clone() }, "notice-model"),
        (Notice { name: Some("llm-70b".into()), ..good.clone() }, "notice-model"),
        (Notice { name: None, ..good.clone() }, "notice-model"),
        (Notice { root: Hash([7; 32]), ..good.clone() }, "notice-model"),
        (scene.notice(by(beyond, &next)), "notice-entry"),
        (scene.notice(by(newer, &scene.model)), "notice-model"),
        (scene.notice(NoticeKind::ApproveRollback { instead_of: beyond }), "notice-entry"),
    ] {
        for face in [Face::V1, Face::V2] {
            let submission = signed(face, &notice, &scene.signer);
            let refused = outcome(&mut connection, &submission);
            assert_eq!(refused, refusal(400, label), "{notice:?}");
        }
    }
    let good: Value = serde_json::from_slice(&good.to_payload().unwrap()).unwrap();
    for (place, value, label) in [
        ("/predicateType", "urn:treering:predicate:revoke:v2", "notice-unknown"),
        ("/predicateType", "urn:treering:predicate:praise:v1", "notice-unknown"),
        ("/predicateType", "urn:treering:predicate:supersede:v1", "notice-malformed"),
        ("/predicate/reason", "", "notice-malformed"),
    ] {
        let mut changed = good.clone();
        *changed.pointer_mut(place).unwrap() = value.into();
        let payload = changed.to_string().into_bytes();
        for face in [Face::V1, Face::V2] {
            let submission = Submission::dsse(face, &scene.signer, &payload);
            assert_eq!(outcome(&mut connection, &submission), refusal(400, label), "{value}");
        }
    }
    assert_eq!(server.size(), 3, "nothing that was refused is logged");
}

#[test]
fn a_renewal_is_of_the_same_model_whoever_signed_it() {
    let scene = Scene::new();
    let server = scene.log.serve();
    let mut connection = server.connect();
    let other = model("vision-2", "other weights");
    let at_other = logged_model(&mut connection, &other, &scene.signer);
    let beyond = EntryRef { index: LeafIndex::new(100).unwrap(), ..scene.about };
    let new_key = Signer::new();
    for (renews, expected) in [
        (beyond, refusal(400, "renewal-entry")),
        (EntryRef { leaf: Hash([7; 32]), ..scene.about }, refusal(400, "renewal-entry")),
        (at_other, refusal(400, "renewal-model")),
        (scene.about, admitted()),
    ] {
        let renewal = scene.model.clone().with_renewal(renews).to_payload();
        for face in [Face::V1, Face::V2] {
            let submission = Submission::dsse(face, &new_key, &renewal);
            assert_eq!(outcome(&mut connection, &submission), expected, "{renews:?}");
        }
    }
}

/// Notices name the log that they were said in.
#[test]
fn a_new_log_with_old_entries_says_which_notices_lapse() {
    let scene = Scene::new();
    let server = scene.log.serve();
    let mut connection = server.connect();
    let mut say = |kind, reason: String| {
        let notice = Notice { reason: Some(reason), ..scene.notice(kind) };
        logged(&mut connection, &signed(Face::V1, &notice, &scene.signer)).index.get()
    };
    let revoked = say(NoticeKind::Revoke, "poisoned".to_owned());
    let approved: Vec<u64> = (0..21).map(|at| say(approval(), format!("look {at}"))).collect();
    let backup = scene.log.beside("backup");
    take_backup(&scene.log.data, &backup);
    assert_eq!(server.terminate().code(), Some(0));
    let data = scene.log.beside("second");
    let new = ["--as-new-log", "--url", "https://second.corp", "--data", text(&data)];
    let made = run(&[&["restore", text(&backup)][..], &new].concat());
    let said = String::from_utf8_lossy(&made.stderr);
    assert_eq!(made.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&made.stdout).unwrap();
    let expected = json!([
        {"kind": "revoke", "count": 1, "firstIndexes": [revoked]},
        {"kind": "approve", "count": 21, "firstIndexes": approved[..20]},
    ]);
    assert_eq!(report["lapsedNotices"], expected);
    assert!(said.contains("said again"), "{said}");
    assert!(said.contains("  revoke: 1, entries 1\n  approve: 21, entries 2, 3,"), "{said}");
    assert!(said.contains(", 21, ...\n"), "{said}");
}
