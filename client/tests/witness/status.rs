//! Every row of the table of c2sp.org/tlog-witness, and what the answers hold.

use std::process::Command;

use ed25519_dalek::SigningKey;
use treering_proto::hash::sha256;
use treering_proto::note::{Note, sign_cosignature_line, sign_ed25519_line};
use treering_proto::tree::TreeHead;

use super::bench::{Bench, checkpoint_path};
use super::log::{Log, body};

/// A request and what it must be answered with.
type Row = (&'static str, Vec<u8>, u16);

/// What is wrong with a request whatever was cosigned before.
fn malformed(log: &Log) -> Vec<Row> {
    let note = log.note(5).format();
    let hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let reversed = body(6, &[], &log.note(5));
    let many = hash.repeat(64);
    let most = hash.repeat(63);
    vec![
        ("empty", Vec::new(), 400),
        ("note only", note.clone().into_bytes(), 400),
        ("no blank line", format!("old 0\n{note}").into_bytes(), 400),
        ("leading zero", format!("old 00\n\n{note}").into_bytes(), 400),
        ("sign", format!("old +0\n\n{note}").into_bytes(), 400),
        ("no note", b"old 0\n\n".to_vec(), 400),
        ("no signature", format!("old 0\n\n{}", log.text(5)).into_bytes(), 400),
        ("carriage returns", format!("old 0\r\n\r\n{note}").into_bytes(), 400),
        ("64 hashes", format!("old 3\n{many}\n{note}").into_bytes(), 400),
        ("63 hashes", format!("old 3\n{most}\n{note}").into_bytes(), 422),
        ("old size above the checkpoint's", reversed, 400),
        ("latin-1", [b"old 0\n\n", note.as_bytes(), b"\xff"].concat(), 400),
    ]
}

/// What is wrong with the origin or the signatures.
fn unsigned(log: &Log) -> Vec<Row> {
    let (text, key) = (log.text(5), log.key());
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let with = |signatures| body(3, &log.proof(3, 5), &Note { text: text.clone(), signatures });
    let good = sign_ed25519_line(&log.origin, &key, &text);
    let mut bad = good.clone();
    bad.signature[3] ^= 1;
    let unknown = sign_ed25519_line("other.example", &stranger, &text);
    let cosignature = sign_cosignature_line(&log.origin, &key, &text, 7);
    vec![
        ("unknown origin", Log::honest("who.example").body(0, 5), 404),
        ("stranger", with(vec![sign_ed25519_line(&log.origin, &stranger, &text)]), 403),
        ("another name", with(vec![sign_ed25519_line("x.example", &key, &text)]), 403),
        ("another kind of key", with(vec![cosignature]), 403),
        ("bad line", with(vec![bad.clone()]), 403),
        ("bad line before a good one", with(vec![bad.clone(), good.clone()]), 403),
        ("bad line after a good one of the same key", with(vec![good, bad]), 200),
        ("line of a stranger beside", with(vec![unknown]), 403),
    ]
}

#[test]
fn malformed_and_unsigned_requests_get_their_status_and_no_signature() {
    let bench = Bench::new();
    let running = bench.start();
    let first = running.post(&bench.log.body(0, 3));
    bench.cosigned_at(&bench.log.note(3), &first);
    for (name, body, status) in malformed(&bench.log).into_iter().chain(unsigned(&bench.log)) {
        let answer = running.post(&body);
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(answer.body.contains('\u{2014}'), status == 200, "{name}: {answer:?}");
        assert!(answer.head.contains("cache-control: no-store\r\n"), "{name}: {answer:?}");
    }
    assert_eq!(running.size(&bench.log), 5);
}

#[test]
fn sizes_and_proofs_get_their_status_at_each_state() {
    let bench = Bench::new();
    let log = &bench.log;
    let fork = log.forked_at(2);
    let empty = TreeHead { root: sha256(b"x"), ..log.head(0) };
    let surplus = [&log.proof(4, 7)[..], &[sha256(b"x")]].concat();
    let running = bench.start();
    let rows: Vec<Row> = vec![
        ("before the first, from 3", log.body(3, 4), 409),
        ("empty tree with another root", body(0, &[], &log.sign(&log.text_of(empty))), 422),
        ("first contact with a proof", body(0, &[sha256(b"x")], &log.note(4)), 422),
        ("first contact with an empty tree", log.body(0, 0), 200),
        ("the same empty tree", log.body(0, 0), 200),
        ("first entries", log.body(0, 4), 200),
        ("from 0 again", log.body(0, 4), 409),
        ("from 3", log.body(3, 7), 409),
        ("the same again", log.body(4, 4), 200),
        ("the same with a proof", body(4, &[sha256(b"x")], &log.note(4)), 422),
        ("same size, other root", fork.body(4, 4), 422),
        ("fork", fork.body(4, 7), 422),
        ("no proof", body(4, &[], &log.note(7)), 422),
        ("surplus", body(4, &surplus, &log.note(7)), 422),
        ("shorter", log.body(2, 3), 409),
        ("grows", log.body(4, 7), 200),
        ("grows by one", log.body(7, 8), 200),
    ];
    for (name, body, status) in rows {
        let answer = running.post(&body);
        assert_eq!(answer.status, status, "{name}: {answer:?}");
    }
    let conflict = running.post(&log.body(0, 9));
    assert_eq!((conflict.status, &*conflict.body), (409, "8\n"));
    assert!(conflict.head.contains("content-type: text/x.tlog.size\r\n"), "{conflict:?}");
    let refused = running.post(&fork.body(8, 8));
    assert!(!refused.head.contains("x.tlog.size"), "{refused:?}");
    let metrics = running.get("/metrics").body;
    assert!(metrics.contains("outcome=\"cosigned\"} 6\n"), "{metrics}");
    assert!(metrics.contains("treering_witness_origins 1\n"), "{metrics}");
    assert_eq!(bench.shown(&running, log).head(), log.head(8));
}

#[test]
fn a_fork_is_told_to_the_operator_with_evidence() {
    let bench = Bench::new();
    let running = bench.start();
    running.post(&bench.log.body(0, 5));
    let fork = bench.log.forked_at(2);
    assert_eq!(running.post(&fork.body(5, 5)).status, 422);
    assert_eq!(running.post(&fork.body(5, 9)).status, 422);
    let told = bench.stderr();
    for line in ["ALARM: log.example signed two different trees", "does not start with the one"] {
        assert!(told.contains(line), "{told}");
    }
    let files = std::fs::read_dir(bench.path("state/evidence")).unwrap();
    let mut kinds: Vec<String> = files
        .map(|file| {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(text.starts_with("tlog-evidence@v1\n"), "{text}");
            text.lines().nth(1).unwrap().to_owned()
        })
        .collect();
    kinds.sort();
    assert_eq!(kinds, ["kind fork-prefix", "kind fork-size"]);
    for file in std::fs::read_dir(bench.path("state/evidence")).unwrap() {
        let mut judge = Command::new(env!("CARGO_BIN_EXE_treering"));
        judge.args(["evidence", "verify"]).arg(file.unwrap().path());
        let (out, _) = bench.expect_of(0, judge);
        assert!(out.contains("proven-log"), "{out}");
    }
    assert_eq!(running.post(&bench.log.body(5, 6)).status, 200);
}

#[test]
fn readers_get_the_newest_checkpoint_with_both_signatures_for_any_origin() {
    let bench = Bench::new();
    let other = Log::honest("b\u{fc}cher \u{6a21}\u{578b} + tree");
    let signer = Log { origin: "signer.example".to_owned(), ..other.clone() };
    let vkey = signer.note_key().to_vkey();
    let list = format!("logs/v0\nvkey {vkey}\norigin {}\n", other.origin);
    std::fs::write(bench.path("logs.txt"), list).unwrap();
    let running = bench.start();
    let path = checkpoint_path(&other.origin);
    let text = other.text(5);
    let mut note = signer.sign(&text);
    let of_log = note.signatures[0].format();
    assert_eq!(running.get(&path).status, 404);
    let foreign = SigningKey::from_bytes(&[9; 32]);
    note.signatures.insert(0, sign_cosignature_line("old.example", &foreign, &text, 1));
    let lines = running.post(&body(0, &[], &note));
    bench.cosigned_at(&note, &lines);
    let shown = running.get(&path);
    assert_eq!(shown.body, format!("{text}\n{of_log}{}", lines.body));
    assert!(shown.head.contains("content-type: text/plain; charset=utf-8\r\n"), "{shown:?}");
    for path in [path.to_uppercase(), path.replace("/check", "//check"), "/checkpoint".into()] {
        assert_eq!(running.get(&path).status, 404, "{path}");
    }
    assert_eq!(running.get("/healthz").body, "ok\n");
}

#[test]
fn two_keys_cosign_with_two_lines_and_a_second_key_can_come_later() {
    let bench = Bench::new();
    let log = &bench.log;
    let running = bench.start();
    let before = bench.cosigned_at(&log.note(4), &running.post(&log.body(0, 4)));
    assert!(running.terminate().success());
    bench.expect(2, &["add-key"]);
    bench.expect(0, &["add-key", "--ml-dsa-key", "ml-dsa.pem"]);
    bench.expect(2, &["add-key", "--ml-dsa-key", "another.pem"]);
    assert_eq!(bench.identity().len(), 2);
    let (_, why) = bench.expect(2, &["serve"]);
    assert!(why.contains("--ml-dsa-key"), "{why}");
    let running = bench.start_with("TREERING_ML_DSA_KEY", "ml-dsa.pem");
    assert_eq!(running.ready["vkeys"].as_array().unwrap().len(), 2);
    assert_eq!(running.post(&log.body(0, 5)).status, 409);
    let after = bench.cosigned_at(&log.note(6), &running.post(&log.body(4, 6)));
    assert!(after >= before);
    assert_eq!(bench.shown(&running, log).head(), log.head(6));
    assert!(running.terminate().success());
    let running = bench.start_with("TREERING_ML_DSA_KEY", "ml-dsa.pem");
    assert_eq!(bench.shown(&running, log).head(), log.head(6));
}
