//! `treering revoke`, `supersede`, `approve-rollback` and `approve`: notices about logged models.
//!
//! ```text
//! find what is spoken about -> make the notice -> sign -> keep -> send -> verify -> write
//! ```
//!
//! Invariant: nothing is sent before all that is spoken about is proven to be in the log; a
//! revocation is not sent without `--yes`, in a terminal and elsewhere alike: one command does one
//! thing, and a script that revokes says so.

mod arguments;
mod say;
mod which;

use treering_client::log::LogReader;
use treering_client::notice::{Access, LineError, LoggedModel, newest_of_line};
use treering_client::report::Exit;
use treering_proto::notice::{Notice, NoticeKind, Successor};
use treering_proto::tree::LeafIndex;
use treering_proto::trust::TrustFile;

use super::failure::Failure;
use super::output::Output;
use arguments::Common;
use say::Speaker;
use which::{Pointer, Which};

pub use arguments::{
    ApproveArguments, ApproveRollbackArguments, RevokeArguments, SupersedeArguments,
};
pub use say::told;
pub use which::{find_failure, parse_index};

const NOTHING_SENT: &str = "nothing was said";

/// What is to be said, as far as the command line says it.
enum Say {
    Revoke { yes: bool },
    Supersede { by: Pointer },
    ApproveRollback { instead_of: Option<LeafIndex> },
    Approve { role: String },
}

/// `treering revoke`.
pub async fn revoke(arguments: RevokeArguments, output: &Output) -> Result<Exit, Failure> {
    let RevokeArguments { about, reason, yes, common } = arguments;
    run(&common, about.which(), Some(reason), |_| Ok(Say::Revoke { yes }), output).await
}

/// `treering supersede`.
pub async fn supersede(arguments: SupersedeArguments, output: &Output) -> Result<Exit, Failure> {
    let SupersedeArguments { about, by, reason, common } = arguments;
    let by = by.which(about.allow_symlinks);
    let say = |trust: &TrustFile| Ok(Say::Supersede { by: by.open(trust, output)? });
    run(&common, about.which(), Some(reason), say, output).await
}

/// `treering approve-rollback`.
pub async fn approve_rollback(
    arguments: ApproveRollbackArguments,
    output: &Output,
) -> Result<Exit, Failure> {
    let ApproveRollbackArguments { about, reason, instead_of, common } = arguments;
    let say = |_: &TrustFile| Ok(Say::ApproveRollback { instead_of });
    run(&common, about.which(), Some(reason), say, output).await
}

/// `treering approve`.
pub async fn approve(arguments: ApproveArguments, output: &Output) -> Result<Exit, Failure> {
    let ApproveArguments { about, role, reason, common } = arguments;
    run(&common, about.which(), reason, |_| Ok(Say::Approve { role }), output).await
}

async fn run(
    common: &Common,
    which: Which<'_>,
    reason: Option<String>,
    say: impl FnOnce(&TrustFile) -> Result<Say, Failure>,
    output: &Output,
) -> Result<Exit, Failure> {
    let trust = common.trust.load()?;
    let state = common.state.directory()?;
    let key = common.key.load()?;
    // Files are read first: the time for the log starts when it is connected to.
    let about = which.open(&trust, output)?;
    let say = say(&trust)?;
    let transport = common.network.connect(&trust)?;
    let log = LogReader::new(&transport, &trust);
    let access = Access { log: &log, trust: &trust, state: &state };
    let speaker = Speaker { access, key: &key, out: common.out.as_deref(), which };
    let about = which::find(&access, about, output).await?;
    let yes = !matches!(say, Say::Revoke { yes: false });
    let kind = kind(&access, &about, say, output).await?;
    let notice = Notice {
        kind,
        log: trust.log.origin.clone(),
        about: about.entry,
        model_id: about.model_id,
        root: about.statement.root(),
        name: about.name().map(str::to_owned),
        reason,
    };
    if !yes {
        return Err(not_confirmed(&notice));
    }
    speaker.say(&about, &notice, output).await
}

async fn kind(
    access: &Access<'_>,
    about: &LoggedModel,
    say: Say,
    output: &Output,
) -> Result<NoticeKind, Failure> {
    Ok(match say {
        Say::Revoke { .. } => NoticeKind::Revoke,
        Say::Approve { role } => NoticeKind::Approve { role },
        Say::Supersede { by } => {
            let by = which::find(access, by, output).await?;
            if by.entry.index == about.entry.index {
                let why = format!("entry {} cannot take its own place", by.entry.index);
                return Err(Failure::usage(NOTHING_SENT, why));
            }
            NoticeKind::Supersede { by: Successor { entry: by.entry, model_id: by.model_id } }
        }
        Say::ApproveRollback { instead_of: Some(index) } => {
            let newest = which::find(access, Pointer::Index(index), output).await?;
            check_instead_of(about, &newest)?;
            NoticeKind::ApproveRollback { instead_of: newest.entry }
        }
        Say::ApproveRollback { instead_of: None } => {
            let newest = newest_of_line(access, about)
                .await
                .map_err(|error| line_failure(error, access, output))?;
            let (index, version) = (newest.entry.index, newest.statement.model_version());
            let version = version.map(|text| format!(", version {text}")).unwrap_or_default();
            output
                .remark(&format!("the newest is entry {index}{version}: what comes later ends it"));
            NoticeKind::ApproveRollback { instead_of: newest.entry }
        }
    })
}

/// Refuses what would never count.
fn check_instead_of(about: &LoggedModel, newest: &LoggedModel) -> Result<(), Failure> {
    let (index, own) = (newest.entry.index, about.entry.index);
    let why = if newest.model_id == about.model_id {
        format!("entry {index} is of the same model as entry {own}")
    } else if newest.name() != about.name() {
        format!("entry {index} has another name than entry {own}")
    } else {
        return Ok(());
    };
    Err(Failure::usage(NOTHING_SENT, why)
        .advise("name the newest entry of this name: --instead-of"))
}

fn line_failure(error: LineError, access: &Access<'_>, output: &Output) -> Failure {
    let why = error.to_string();
    let failure = match error {
        LineError::Log(error) => error.into(),
        LineError::Behind { .. } | LineError::TooMany => {
            Failure::new(Exit::Unavailable, NOTHING_SENT, &why).advise("say --instead-of INDEX")
        }
        LineError::Entry { error, .. } => {
            find_failure(error, access, output).advise("say --instead-of INDEX")
        }
        LineError::NoName => Failure::usage(NOTHING_SENT, &why).advise("say --instead-of INDEX"),
        LineError::Newest => {
            Failure::usage(NOTHING_SENT, &why).advise("there is nothing to roll back from")
        }
    };
    Failure { what: NOTHING_SENT.to_owned(), why, ..failure }
}

fn not_confirmed(notice: &Notice) -> Failure {
    let name = notice.name.as_deref().unwrap_or("(no name)");
    let why = format!(
        "this would revoke the model {name:?} of entry {}, model id {}, under every name and for \
         ever: a revocation cannot be taken back",
        notice.about.index, notice.model_id
    );
    Failure::usage(NOTHING_SENT, why).advise("if you mean it, say --yes")
}
