//! Runs scenarios: without a bug, in which case none may find anything, and with each seeded bug,
//! in which case one must; and judges a history that was kept.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use treering_server::seeded_bug::SeededBug;
use treering_tests::binaries;
use treering_tests::checker::{self, Invariant};

use crate::shim::Shim;
use crate::tally::Tally;
use crate::trial::{Ground, Trial};
use crate::violation::{Checked, Promise, Violation, broken};
use crate::{Arguments, clocks, errors, fences, flips, kills, memory, power, space};

/// A scenario.
struct Scenario {
    name: &'static str,
    run: fn(&mut Trial<'_>) -> Checked,
    /// Whether it is too long for a quick run.
    is_long: bool,
}

const fn quick(name: &'static str, run: fn(&mut Trial<'_>) -> Checked) -> Scenario {
    Scenario { name, run, is_long: false }
}

/// All of them, those that take least time first.
const SCENARIOS: &[Scenario] = &[
    quick("kill at each gap", kills::at_each_gap),
    quick("power cut by shim", power::cut_by_shim),
    quick("errors, sampled", errors::sampled),
    quick("anchor written by another", fences::anchor_written_by_another),
    quick("entry damaged on its way", memory::flipped_on_its_way),
    quick("clock steps", clocks::steps),
    quick("flipped bits, server down", flips::while_down),
    quick("flipped bits, server up", flips::while_up),
    quick("second process", fences::second_process),
    quick("one key, two servers", fences::one_key),
    quick("paused", fences::paused),
    quick("disk full", space::full),
    quick("power cut of ext4", power::cut_of_ext4),
    quick("power cut of XFS", power::cut_of_xfs),
    quick("kill at random", kills::at_random),
    Scenario { is_long: true, ..quick("errors, every position", errors::every) },
];

/// How often the scenarios are run for one bug: some need two requests to meet.
const ROUNDS_FOR_A_BUG: u64 = 3;

/// Runs what the arguments say. Whether all is well.
pub(crate) fn run(arguments: &Arguments) -> Result<bool, String> {
    if let Some(file) = &arguments.judge {
        return judge_again(file);
    }
    let seed = arguments.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    println!("faults: seed {seed}; --seed {seed} makes the same choices again");
    let mut tally = Tally::default();
    let started = Instant::now();
    let mut is_well = true;
    let until = arguments.soak.map(|minutes| started + Duration::from_secs(60 * minutes));
    if arguments.bug.is_none() {
        is_well = without_bug(arguments, seed, until, &mut tally)?;
    }
    let is_all = until.is_none() && arguments.scenario.is_none() && arguments.bug.is_none();
    if is_well && is_all {
        is_well = tally.has_all_needed();
    }
    if is_well && until.is_none() {
        is_well = with_each_bug(arguments, seed)?;
    }
    println!("\n{tally}\n{:.0} s, seed {seed}", started.elapsed().as_secs_f64());
    println!("losses and forks: {}", if is_well { "0" } else { "SEE ABOVE" });
    Ok(is_well)
}

/// Decides over a history that was kept. Whether nothing is violated.
fn judge_again(file: &Path) -> Result<bool, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let open = std::fs::File::open(file).map_err(|error| failed(&error))?;
    let (history, rebuilt) =
        checker::read(std::io::BufReader::new(open)).map_err(|error| failed(&error))?;
    let verdict = checker::check(&history, &rebuilt);
    print!("{verdict}");
    Ok(verdict.violations.is_empty())
}

fn chosen(arguments: &Arguments, with_long: bool) -> impl Iterator<Item = &'static Scenario> {
    let wanted =
        move |name: &str| arguments.scenario.as_ref().is_none_or(|part| name.contains(part));
    let by_name = arguments.scenario.is_some();
    SCENARIOS.iter().filter(move |scenario| {
        (with_long || by_name || !scenario.is_long) && wanted(scenario.name)
    })
}

/// Without a bug nothing may be found; the first that is ends the run. The build with the seeded
/// bugs runs once, too, with none of them: what it is caught at later is then the bug. It alone can
/// damage an entry on its way to the disk.
fn without_bug(
    arguments: &Arguments,
    seed: u64,
    until: Option<Instant>,
    tally: &mut Tally,
) -> Result<bool, String> {
    let buggy = ground(arguments, binaries::buggy_server()?, None)?;
    let mut of_test_build = Tally::default();
    for scenario in chosen(arguments, false).filter(|scenario| !scenario.is_long) {
        if let Err(violation) = run_one(&buggy, scenario, seed, &mut of_test_build) {
            println!("VIOLATION in {:?} with seed {seed}, test build: {violation}", scenario.name);
            return Ok(false);
        }
    }
    println!("the test build without a bug passes every scenario");
    tally.take_faults_of(&of_test_build, memory::FAULT);
    let ground = ground(arguments, binaries::server().to_owned(), None)?;
    let mut round = 0;
    loop {
        for scenario in chosen(arguments, until.is_some()) {
            let started = Instant::now();
            let seed = of_round(seed, round);
            if let Err(violation) = run_one(&ground, scenario, seed, tally) {
                println!("VIOLATION in {:?} with seed {seed}: {violation}", scenario.name);
                return Ok(false);
            }
            let seconds = started.elapsed().as_secs_f64();
            println!("{:<28} ok  {seconds:6.1} s  seed {seed}", scenario.name);
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(true);
            }
        }
        if until.is_none() {
            return Ok(true);
        }
        round += 1;
    }
}

/// Each bug must be found by a scenario, with the same seeds.
fn with_each_bug(arguments: &Arguments, seed: u64) -> Result<bool, String> {
    let server = binaries::buggy_server()?;
    let mut is_well = true;
    let mut rows = Vec::new();
    let wanted = |bug: &SeededBug| arguments.bug.as_ref().is_none_or(|name| bug.name() == name);
    for bug in SeededBug::ALL.into_iter().filter(wanted) {
        let started = Instant::now();
        let ground = ground(arguments, server.clone(), Some(bug.name()))?;
        let rounds = (0..ROUNDS_FOR_A_BUG).map(|round| of_round(seed, round));
        let all = rounds.flat_map(|seed| chosen(arguments, false).map(move |one| (seed, one)));
        let mut other = None;
        let found = all.into_iter().find_map(|(seed, scenario)| {
            let found = run_one(&ground, scenario, seed, &mut Tally::default());
            let found = (seed, scenario.name, found.err()?);
            if is_itself(bug, &found.2) {
                return Some(found);
            }
            other = Some(found);
            None
        });
        let seconds = started.elapsed().as_secs_f64();
        let name = bug.name();
        match found {
            Some((seed, scenario, violation)) => {
                println!("bug {name:<22} caught {seconds:6.1} s  by {scenario:?}: {violation}");
                let promises = violation.promises();
                rows.push(format!("| {name} | {promises} | {scenario} | {seed} |"));
            }
            None => {
                is_well = false;
                println!("bug {name:<22} NOT CAUGHT {seconds:6.1} s");
                if let Some((_, scenario, violation)) = other {
                    println!("  but, by {scenario:?}: {violation}");
                }
            }
        }
    }
    match &arguments.table {
        Some(file) if is_well && arguments.bug.is_none() => write_table(file, &rows)?,
        _ => {}
    }
    Ok(is_well)
}

/// Whether one of the promises that the bug may break is broken: caught by others alone, it was not
/// the bug that was caught.
fn is_itself(bug: SeededBug, violation: &Violation) -> bool {
    let is_expected = |promise: &Promise| match promise {
        Promise::Holds(invariant) => expected(bug).contains(invariant),
        Promise::Available => false,
    };
    violation.promises.iter().any(is_expected)
}

/// The promises that a bug may break.
fn expected(bug: SeededBug) -> &'static [Invariant] {
    use Invariant as I;
    match bug {
        SeededBug::NoSync | SeededBug::AckBeforePersist => &[I::Durable],
        SeededBug::ProofFromNewerSize => &[I::Offline],
        SeededBug::DedupForgotten => &[I::Unique],
        SeededBug::StaleTile => &[I::Content],
        SeededBug::SelfCheckOff => &[I::Content, I::SameSizeSameRoot, I::PairwiseConsistent],
        SeededBug::IndexReused => {
            &[I::Unique, I::Durable, I::SameSizeSameRoot, I::PairwiseConsistent]
        }
        SeededBug::AnchorSwapIgnored => &[I::Fencing],
        SeededBug::DefaultWalRecovery => &[I::Refusal, I::Durable],
        SeededBug::AnchorAfterPublish => &[I::Durable, I::Monotonic],
        SeededBug::ClockIgnored => &[I::Time],
    }
}

/// Writes the table between the markers of a Markdown file anew.
fn write_table(file: &Path, rows: &[String]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let (begin, end) = ("<!-- bugs: begin -->\n", "<!-- bugs: end -->");
    let parts = text
        .split_once(begin)
        .and_then(|(before, rest)| rest.split_once(end).map(|(_, after)| (before, after)));
    let (before, after) = parts.ok_or_else(|| format!("{} has no markers", file.display()))?;
    let head = "| bug | broken invariants | caught by | seed |\n|---|---|---|---|";
    let table = format!("{before}{begin}{head}\n{}\n{end}{after}", rows.join("\n"));
    std::fs::write(file, table).map_err(failed)
}

fn run_one(
    ground: &Ground,
    scenario: &Scenario,
    seed: u64,
    tally: &mut Tally,
) -> Result<(), Violation> {
    let mut trial = Trial::new(ground, seed, tally);
    let run = AssertUnwindSafe(|| (scenario.run)(&mut trial));
    // The harness gives up with a panic where a server is not there any more.
    let checked = std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().cloned();
        broken(Promise::Available, what.unwrap_or_else(|| "a panic".to_owned()))
    });
    if checked.is_err() && ground.history.is_some() && ground.bug.is_none() {
        println!("the log is left in {}", trial.log.keep().display());
    }
    checked
}

fn ground(
    arguments: &Arguments,
    server: PathBuf,
    bug: Option<&'static str>,
) -> Result<Ground, String> {
    let has_fail_points = server.ends_with("treering-server-buggy");
    let history = arguments.history.clone();
    Ok(Ground { server, bug, has_fail_points, shim: Shim::compile()?, history })
}

/// The seed of a round: the given one first, so that it replays what it printed.
fn of_round(seed: u64, round: u64) -> u64 {
    seed.wrapping_add(round.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
