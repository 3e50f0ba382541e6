//! What `verify` tells those who collect verifications, whatever came of one.
//!
//! Invariants: the verdict is printed before, and nothing here changes it for the better or hides
//! it: a verified model whose event cannot be written ends with 5, all else as it would without
//! events.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use treering_client::events::{Event, append};
use treering_client::monitor::webhook::{WebhookError, WebhookUrl};
use treering_client::report::Exit;

use super::arguments::now;
use super::failure::Failure;
use super::output::Output;

/// Where events go.
#[derive(Args)]
pub struct EventArguments {
    /// Append one JSON line about this verification to FILE, whatever comes of it
    #[arg(long, value_name = "FILE", env = "TREERING_EVENTS")]
    events: Option<PathBuf>,
    /// Post the same line to this URL if the model is not verified; https, or http to this machine
    #[arg(long, value_name = "URL", env = "TREERING_EVENTS_WEBHOOK", hide_env_values = true)]
    events_webhook: Option<String>,
}

/// What a verification found, as far as it came.
#[derive(Default)]
pub struct Noted {
    /// The origin of the log.
    pub log: Option<String>,
    /// The report in its JSON form.
    pub report: Option<Value>,
    /// Kinds of the evidence.
    pub evidence: Vec<&'static str>,
}

impl EventArguments {
    /// Where the webhook is, unless it cannot be used.
    pub fn webhook(&self) -> Result<Option<WebhookUrl>, Failure> {
        let url = self.events_webhook.as_deref().map(WebhookUrl::parse).transpose();
        url.map_err(|error| Failure::usage("the webhook for events cannot be used", why(error)))
    }

    /// Writes and posts the event of the verification of `path` that ended with `done`, and says
    /// how the process ends.
    pub async fn tell(
        &self,
        webhook: Option<&WebhookUrl>,
        path: &Path,
        online: bool,
        noted: &Noted,
        done: Result<Exit, Failure>,
        output: &Output,
    ) -> Result<Exit, Failure> {
        if self.events.is_none() && webhook.is_none() {
            return done;
        }
        let event = Event {
            time: now(),
            path: &path.display().to_string(),
            log: noted.log.as_deref(),
            online,
            exit: done.as_ref().map_or_else(|failure| failure.exit, |exit| *exit),
            report: noted.report.as_ref(),
            evidence: &noted.evidence,
            error: done.as_ref().err().map(|failure| (&*failure.what, &*failure.why)),
        };
        let line = event.line();
        let written = self.events.as_deref().map_or(Ok(()), |path| append(path, &line));
        let Err(error) = written else {
            hear(webhook, event.exit, &line, output).await;
            return done;
        };
        let path = self.events.as_deref().unwrap_or(path).display();
        let what = format!("the event of this verification cannot be written to {path}");
        let why = error.to_string();
        match event.exit {
            Exit::Ok => {
                // Nobody reads of it in the file: so the webhook hears how it ends, and why.
                let (exit, error) = (Exit::Unavailable, Some((&*what, &*why)));
                hear(webhook, exit, &Event { exit, error, ..event }.line(), output).await;
            }
            exit => hear(webhook, exit, &line, output).await,
        }
        output.trouble(&Failure::new(Exit::Unavailable, what, why));
        match done {
            Ok(Exit::Ok) => Ok(Exit::Unavailable),
            done => done,
        }
    }
}

/// Posts `line` about a verification that ends with `exit`, unless that is 0.
async fn hear(webhook: Option<&WebhookUrl>, exit: Exit, line: &[u8], output: &Output) {
    let (Some(webhook), true) = (webhook, exit != Exit::Ok) else { return };
    // Only now, because setting it up takes as long as a verification, and most have nothing to
    // tell.
    let sent = match webhook.set_up() {
        Ok(webhook) => webhook.send(line).await,
        Err(error) => Err(why(error)),
    };
    if let Err(why) = sent {
        output.warning(&format!("nobody heard that this ended with {}: {why}", exit as u8));
    }
}

/// Why a webhook cannot be used, without its URL, which may hold a secret.
fn why(error: WebhookError) -> String {
    match error {
        WebhookError::Url(_) => "it is not a URL".to_owned(),
        WebhookError::InClear(_) => "it is neither https nor http on this machine".to_owned(),
        WebhookError::Setup(error) => error.without_url().to_string(),
    }
}
