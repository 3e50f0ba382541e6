//! What commands print: data on stdout as text or JSON, everything else on stderr.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use treering_client::report::{Check, Outcome, REPORT_SCHEMA, Report};

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

    /// Prints data: `text`, or `json` on one line.
    pub fn data(&self, text: &str, json: &Value) {
        self.print(&clean(text), json);
    }

    /// Prints bytes as they are.
    pub fn raw(&self, bytes: &[u8]) {
        let _ = std::io::stdout().write_all(bytes);
    }

    /// Tells people something.
    pub fn remark(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Tells people what they must not miss.
    pub fn alarm(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "ALARM: {text}");
    }

    /// Tells what failed, why, and what to do next.
    pub fn failure(&self, failure: &Failure) {
        let (what, why) = (clean(&failure.what), clean(&failure.why));
        let mut text = format!("error: {what}\n  why:  {why}");
        if let Some(next) = &failure.next {
            let _ = write!(text, "\n  next: {next}");
        }
        let _ = writeln!(std::io::stderr(), "{text}");
        if self.form == Form::Json {
            let json = json!({
                "schema": ERROR_SCHEMA,
                "exit": failure.exit as u8,
                "what": failure.what,
                "why": failure.why,
                "next": failure.next,
            });
            let _ = writeln!(std::io::stdout(), "{json}");
        }
    }

    /// Prints a report. `about` are further members of the JSON form; `summary` ends the text form.
    pub fn report(&self, report: &Report, summary: &str, about: Value) {
        let mut json = json!({
            "schema": REPORT_SCHEMA,
            "verified": report.is_verified(),
            "exit": report.exit() as u8,
            "checks": report.checks(),
        });
        if let (Value::Object(all), Value::Object(about)) = (&mut json, about) {
            all.extend(about);
        }
        self.print(&self.report_text(report, summary), &json);
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

    fn report_text(&self, report: &Report, summary: &str) -> String {
        let width = report.checks().iter().map(|check| check.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for check in report.checks() {
            let word = self.word(check);
            let _ = writeln!(text, "{word}  {:width$}  {}", check.check, clean(&check.why));
            for detail in &check.details {
                let _ = writeln!(text, "{:width$}  {}", "", clean(detail), width = width + 13);
            }
        }
        text.push_str(&clean(summary));
        text
    }

    fn print(&self, text: &str, json: &Value) {
        let line = match self.form {
            Form::Text if text.is_empty() => return,
            Form::Text => text.trim_end().to_owned(),
            Form::Json => json.to_string(),
        };
        // A reader that went away, as `| head` does, is no failure of ours.
        let _ = writeln!(std::io::stdout(), "{line}");
    }

    fn word(&self, check: &Check) -> String {
        let (word, colour) = match check.outcome {
            Outcome::Passed => ("passed     ", 32),
            Outcome::Failed => ("FAILED     ", 31),
            Outcome::NotChecked if check.required => ("NOT CHECKED", 31),
            Outcome::NotChecked => ("not checked", 33),
        };
        if self.colour { format!("\u{1b}[{colour}m{word}\u{1b}[0m") } else { word.to_owned() }
    }
}

/// Names of files, models and signers, and the words of a log, are a stranger's text, which must
/// not steer a terminal.
fn clean(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}
