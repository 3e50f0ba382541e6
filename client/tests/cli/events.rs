//! Verification events, as the shipped binary tells them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc;

use serde_json::{Value, json};

use super::{Bench, outcome};

/// In no event.
const SECRET: &str = "s3cr3t";

impl Bench {
    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("events.jsonl")).unwrap();
        assert!(text.ends_with('\n'), "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Somebody who hears one event.
fn receiver() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/{SECRET}", listener.local_addr().unwrap());
    let (sender, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        while !bytes.ends_with(b"}") {
            let count = socket.read(&mut buffer).unwrap();
            bytes.extend_from_slice(&buffer[..count]);
        }
        let text = String::from_utf8(bytes).unwrap();
        sender.send(text[text.find("\r\n\r\n").unwrap() + 4..].to_owned()).unwrap();
        socket.write_all(b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n").unwrap();
    });
    (url, heard)
}

#[test]
fn each_verification_leaves_one_line_whatever_comes_of_it() {
    let bench = Bench::new();
    let verify = ["verify", "llama", "--events", "events.jsonl"];
    bench.expect(2, &verify);
    bench.accept_ci();
    bench.expect(1, &verify);
    bench.expect(0, &["sign", "llama", "--key", "ci.pem", "--model-version", "3"]);
    let report = bench.json(0, &verify);
    bench.expect(0, &[&verify[..], &["--online"]].concat());
    bench.write("llama/config.json", b"[]");
    bench.expect(1, &verify);
    bench.write("llama/model.sig", b"{}");
    bench.expect(1, &verify);
    bench.write("trust.json", b"{}");
    bench.expect(2, &verify);
    let events = bench.events();
    let exits: Vec<u64> = events.iter().map(|event| event["exit"].as_u64().unwrap()).collect();
    assert_eq!(exits, [2, 1, 0, 0, 1, 1, 2]);
    for event in &events {
        assert_eq!(event["schema"], "treering.event/v1");
        assert_eq!((&event["path"], &event["cut"]), (&json!("llama"), &json!(false)));
        assert_eq!(event["verified"], event["exit"] == 0);
    }
    assert!(events[0]["error"]["why"].as_str().unwrap().contains("no rule says who may sign"));
    assert!(events[1]["error"]["why"].as_str().unwrap().contains("no signature"));
    assert_eq!((&events[2]["log"], &events[2]["online"]), (&json!("log.example"), &json!(false)));
    assert_eq!(events[2]["error"], Value::Null);
    for member in ["checks", "model", "signer", "publicKey", "entry"] {
        assert_eq!(events[2][member], report[member], "{member}");
    }
    assert_eq!(events[2]["model"]["version"], "3");
    assert_eq!(events[3]["online"], true);
    assert_eq!(outcome(&events[3], "consistency"), "passed");
    assert_eq!(outcome(&events[4], "bytes"), "failed");
    assert_eq!(outcome(&events[5], "bundle"), "failed");
    assert_eq!((&events[6]["log"], &events[6]["checks"]), (&Value::Null, &Value::Null));
    let mode = std::fs::metadata(bench.path("events.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_alarm_names_its_evidence() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    bench.served.log.lock().unwrap().bodies[5] = b"forged".to_vec();
    let verify = ["verify", "llama", "--online", "--events", "events.jsonl"];
    bench.expect(6, &verify);
    let events = bench.events();
    assert_eq!((&events[0]["exit"], &events[0]["evidence"]), (&json!(6), &json!(["fork-size"])));
}

#[test]
fn an_event_that_cannot_be_written_is_an_error_that_hides_no_verdict() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    for place in ["nowhere/events", "llama", "/dev/full"] {
        let report = bench.json(5, &["verify", "llama", "--events", place]);
        assert_eq!(report["verified"], true);
    }
    let output = bench.run(&["verify", "llama", "--events", "llama"], &[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("event of this verification cannot be written to llama"), "{stderr}");
    bench.write("llama/config.json", b"[]");
    let report = bench.json(1, &["verify", "llama", "--events", "llama"]);
    assert_eq!(outcome(&report, "bytes"), "failed");
    bench.expect(2, &["verify", "missing", "--events", "llama"]);
}

#[test]
fn the_webhook_hears_of_failures_only_and_its_silence_changes_no_verdict() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    let (url, heard) = receiver();
    let verify = ["verify", "llama", "--events", "events.jsonl"];
    let told = [&verify[..], &["--events-webhook", &url]].concat();
    bench.expect(0, &told);
    bench.write("llama/config.json", b"[]");
    bench.expect(1, &told);
    let heard: Vec<String> = heard.iter().collect();
    let events = bench.events();
    assert_eq!(heard.len(), 1);
    assert_eq!(serde_json::from_str::<Value>(&heard[0]).unwrap(), events[1]);
    // Nobody is there any more.
    let output = bench.run(&told, &[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("warning: nobody heard"), "{stderr}");
    assert!(!stderr.contains(SECRET), "{stderr}");
}

#[test]
fn the_webhook_hears_of_a_verified_model_whose_event_cannot_be_written() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    let (url, heard) = receiver();
    let told = ["verify", "llama", "--events", "llama", "--events-webhook", &url];
    let report = bench.json(5, &told);
    assert_eq!(report["verified"], true);
    // The receiver answers what it has passed on, and the process ended since.
    let heard: Value = serde_json::from_str(&heard.try_recv().unwrap()).unwrap();
    assert_eq!((&heard["exit"], &heard["verified"]), (&json!(5), &json!(false)));
    let what = heard["error"]["what"].as_str().unwrap();
    assert_eq!(what, "the event of this verification cannot be written to llama");
    assert_eq!(heard["checks"], report["checks"]);
}

#[test]
fn no_event_has_a_secret_and_a_webhook_in_clear_is_refused() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    let clear = format!("http://example.com/{SECRET}");
    let trust = std::fs::read_to_string(bench.path("trust.json")).unwrap();
    let secret_url = bench.served.url.replace("http://", &format!("http://user:{SECRET}@"));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (url, _heard) = receiver();
    bench.write("token", SECRET.as_bytes());
    for (arguments, webhook, log) in [
        (&[][..], &*url, &bench.served.url),
        (&["--online"], &url, &bench.served.url),
        (&["--online", "--deadline", "1s"], &url, &format!("http://user:{SECRET}@{nobody}")),
        (&["--online"], &clear, &secret_url),
    ] {
        bench.write("trust.json", trust.replace(&bench.served.url, log).as_bytes());
        let environment = [
            ("TREERING_EVENTS", "events.jsonl"),
            ("TREERING_EVENTS_WEBHOOK", webhook),
            ("TREERING_TOKEN", SECRET),
            ("TREERING_KEY_PASSWORD", SECRET),
        ];
        let output = bench.run(&[&["verify", "llama"], arguments].concat(), &environment);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains(SECRET), "{stderr}");
    }
    let text = std::fs::read_to_string(bench.path("events.jsonl")).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    let exits: Vec<Value> = bench.events().iter().map(|event| event["exit"].clone()).collect();
    assert_eq!(exits, [0, 0, 5, 2]);
    let help = bench.run(&["verify", "--help"], &[("TREERING_EVENTS_WEBHOOK", &clear)]);
    assert!(!String::from_utf8(help.stdout).unwrap().contains(SECRET));
}
