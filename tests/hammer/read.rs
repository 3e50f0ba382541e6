//! `hammer read`.

use clap::{Args, ValueEnum};
use serde_json::json;
use treering_tests::hammer::reads::{Plan, Reads};

use crate::load_options::LoadOptions;
use crate::report::{Report, Unit};
use crate::write::FaceName;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) load: LoadOptions,
    /// What is read.
    #[arg(long, value_enum, default_value_t = What::Tiles)]
    what: What,
    /// Whose paths are used for proofs and searches: v2 means those of Treering.
    #[arg(long, value_enum, default_value_t = FaceName::V2)]
    face: FaceName,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Full hash tiles of level 0.
    Tiles,
    /// Full entry tiles.
    Entries,
    /// Single entries by index, with their proofs.
    Proofs,
    /// Entries by digest.
    Search,
}

impl What {
    fn reads(self) -> (Reads, Unit) {
        match self {
            Self::Tiles => (Reads::Tiles, Unit::Tiles),
            Self::Entries => (Reads::Entries, Unit::EntryTiles),
            Self::Proofs => (Reads::Proofs, Unit::Proofs),
            Self::Search => (Reads::Search, Unit::Searches),
        }
    }
}

/// Reads, measures and verifies.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let (reads, unit) = options.what.reads();
    let face = options.face.face();
    let (target, key) = (options.load.target()?, options.load.key()?);
    let is_signed = key.is_known();
    let mut plan = Plan::new(reads, face, target.clone(), key).await?;
    let requests = match options.load.known_count() {
        Some(count) => plan.requests().at_most(count),
        None => plan.requests(),
    };
    let measured = options.load.load(target, requests).run().await?;
    let verdict = plan.check(&measured.kept).await;
    let different = plan.question_count();
    Ok(Report {
        what: format!("read: {}, {different} different ones", unit.name()),
        unit,
        facts: json!({
            "what": "read",
            "face": face.to_string(),
            "different": different,
        }),
        connections: options.load.connections,
        rate: options.load.rate,
        is_signed,
        measured,
        verdict,
        integration: None,
    })
}
