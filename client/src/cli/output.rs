//! What commands print: data on stdout as text or JSON, everything else on stderr.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use treering_client::report::{Check, Exit, Outcome, REPORT_SCHEMA, Report};

use super::failure::Failure;

/// The version of the JSON form of errors.
const ERROR_SCHEMA: &str = "treering.error/v1";

/// How to print.
#[derive(Args)]
pub struct OutputArguments {
    /// Form of the data on stdout
    #[arg(long, global = true, value_enum, default_value = "text", env = "TREERING_OUTPUT")]
    output: Form,
    /// Print no progress and no remarks
    #[arg(long, short, global = true, env = "TREERING_QUIET")]
    quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// Where and how a command prints.
#[derive(Clone, Copy)]
pub struct Output {
    form: Form,
    quiet: bool,
    colour: bool,
}

impl Output {
    /// Colours are for terminals whose owner did not forbid them.
    pub fn new(arguments: &OutputArguments) -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            form: arguments.output,
            quiet: arguments.quiet,
            colour: !forbidden && std::io::stdout().is_terminal(),
        }
    }

    /// Prints data: `lines`, or `json` on one line.
    pub fn data(&self, lines: &[String], json: &Value) -> Result<(), Failure> {
        let lines: Vec<String> = lines.iter().map(|line| visible(line)).collect();
        self.print(&lines.join("\n"), json)
    }

    /// Prints bytes as they are.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = std::io::stdout();
        printed(stdout.write_all(bytes).and_then(|()| stdout.flush()))
    }

    /// Tells people something.
    pub fn remark(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{}", visible(text));
        }
    }

    /// Tells people, also those who want no remarks, what may not be as they think.
    pub fn warning(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "warning: {}", visible(text));
    }

    /// Tells people what they must not miss; `more` are further lines.
    pub fn alarm<'a>(&self, text: &str, more: impl Iterator<Item = &'a str>) {
        let mut all = format!("ALARM: {}\n", visible(text));
        for line in more {
            let _ = writeln!(all, "{}", visible(line));
        }
        let _ = std::io::stderr().write_all(all.as_bytes());
    }

    /// The same as text alone: of what failed beside that which the data on stdout is about.
    pub fn trouble(&self, failure: &Failure) {
        let (what, why) = (visible(&failure.what), visible(&failure.why));
        let mut text = format!("error: {what}\n  why:  {why}");
        if let Some(next) = &failure.next {
            let _ = write!(text, "\n  next: {}", visible(next));
        }
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Tells what failed, why, and what to do next.
    pub fn failure(&self, failure: &Failure) {
        self.trouble(failure);
        if self.form == Form::Json {
            let json = json!({
                "schema": ERROR_SCHEMA,
                "exit": failure.exit as u8,
                "what": failure.what,
                "why": failure.why,
                "next": failure.next,
            });
            // The process ends with a failure either way.
            let _ = writeln!(std::io::stdout(), "{json}");
        }
    }

    /// Prints a report. `about` are further members of the JSON form; the lines of `summary` end
    /// the text form.
    pub fn report(&self, report: &Report, summary: &[String], about: Value) -> Result<(), Failure> {
        self.print(&self.report_text(report, summary), &report_json(report, about))
    }

    /// Progress of `total` bytes on stderr; hidden when nobody watches.
    pub fn progress(&self, what: &'static str, total: u64) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(
            "{msg} {bar:24} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}",
        )
        .expect("the template above is well formed");
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        bar.set_style(style);
        bar.set_message(what);
        bar
    }

    fn report_text(&self, report: &Report, summary: &[String]) -> String {
        let width = report.checks().iter().map(|check| check.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for check in report.checks() {
            let word = self.word(check);
            let _ = writeln!(text, "{word}  {:width$}  {}", check.check, visible(&check.why));
            for detail in &check.details {
                let _ = writeln!(text, "{:width$}  {}", "", visible(detail), width = width + 13);
            }
        }
        for line in summary {
            let _ = writeln!(text, "{}", visible(line));
        }
        text
    }

    fn print(&self, text: &str, json: &Value) -> Result<(), Failure> {
        let line = match self.form {
            Form::Text if text.is_empty() => return Ok(()),
            Form::Text => text.trim_end().to_owned(),
            Form::Json => json.to_string(),
        };
        self.raw(format!("{line}\n").as_bytes())
    }

    fn word(&self, check: &Check) -> String {
        let (word, colour) = match check.outcome {
            Outcome::Passed => ("passed     ", 32),
            Outcome::Warned => ("WARNING    ", 33),
            Outcome::Failed => ("FAILED     ", 31),
            Outcome::NotChecked if check.required => ("NOT CHECKED", 31),
            Outcome::NotChecked => ("not checked", 33),
        };
        if self.colour { format!("\u{1b}[{colour}m{word}\u{1b}[0m") } else { word.to_owned() }
    }
}

/// The JSON form of a report. `about` are further members.
pub(super) fn report_json(report: &Report, about: Value) -> Value {
    let mut json = json!({
        "schema": REPORT_SCHEMA,
        "verified": report.is_verified(),
        "exit": report.exit() as u8,
        "checks": report.checks(),
    });
    if let (Value::Object(all), Value::Object(about)) = (&mut json, about) {
        all.extend(about);
    }
    json
}

/// Data that nobody got is a failure; but a reader that went away, as `| head` does, is none of
/// ours.
fn printed(written: std::io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Unavailable, "the output cannot be written", error))
        }
        _ => Ok(()),
    }
}

/// Names of files, models and signers, and the words of a log, are a stranger's text, which must
/// neither steer a terminal nor make a line of its own, nor read otherwise than it is. What could
/// is shown as an escape.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_format(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Line separators, and characters that have no look of their own but change that of others or of
/// nothing (Unicode category Cf, and the fillers).
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}'
        | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_makes_no_line_and_steers_no_terminal() {
        let name = "a\nverified: x\r\u{1b}[2J\u{85}\u{2028}\u{202e}\u{200b}\u{e0041}b";
        let shown = visible(name);
        assert_eq!(
            shown,
            "a\\nverified: x\\r\\u{1b}[2J\\u{85}\\u{2028}\\u{202e}\\u{200b}\\u{e0041}b"
        );
        assert_eq!(visible("modèle 模型 🦙 'q4'"), "modèle 模型 🦙 'q4'");
    }

    #[test]
    fn each_cell_of_a_report_stays_in_its_line() {
        let output = Output { form: Form::Text, quiet: false, colour: false };
        let mut report = Report::default();
        report.failed("bytes", "why\npassed", Exit::NotVerified);
        report.details(vec!["extra, not signed: x\nverified: y".to_owned()]);
        let text = output.report_text(&report, &["NOT VERIFIED:\nbytes".to_owned()]);
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn only_a_reader_that_went_away_is_excused() {
        use std::io::{Error, ErrorKind};
        assert!(printed(Err(Error::from(ErrorKind::BrokenPipe))).is_ok());
        let full = printed(Err(Error::from(ErrorKind::StorageFull))).unwrap_err();
        assert_eq!(full.exit, Exit::Unavailable);
    }
}
