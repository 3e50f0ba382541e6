//! `lies`: makes evidence of each kind, as the shipped client keeps it, for judges that are not
//! ours (`tests/interop`).
//!
//! usage: lies DIRECTORY
//!
//! Writes `NUMBER.evidence` files and prints one JSON line for each: the file, what the log did,
//! and what the evidence is worth.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use treering_tests::convictions;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: lies DIRECTORY");
        return ExitCode::from(2);
    };
    for (number, conviction) in convictions::all().into_iter().enumerate() {
        let file = Path::new(&directory).join(format!("{number}.evidence"));
        if let Err(error) = fs::copy(&conviction.kept.path, &file) {
            eprintln!("{}: {error}", file.display());
            return ExitCode::FAILURE;
        }
        let line = serde_json::json!({
            "file": file.to_string_lossy(),
            "lie": conviction.name,
            "kind": conviction.kept.kind,
            "verdict": conviction.verdict,
        });
        println!("{line}");
    }
    ExitCode::SUCCESS
}
