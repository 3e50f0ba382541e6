//! The configuration file: settings in TOML, below variables and flags.
//!
//! There is one definition of every setting, its flag of `serve`: a key of the file is a flag's
//! name, and its value takes the place of the flag's built-in default. So a flag wins over its
//! variable, the variable over the file, the file over the default, and all four are read by the
//! same parser. A table is only a prefix: `certificate` in `[tls]` is `tls-certificate`.
//!
//! Invariant: a key that is no setting is an error; no setting is skipped silently.

mod reference;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Command;
use strsim::damerau_levenshtein;

pub use self::reference::reference;

/// The longest file that is read, in bytes: a hundred times what all settings take.
const FILE_LEN_MAX: u64 = 1 << 20;

/// The variable that names the file, beside `--config`.
const VARIABLE: &str = "TREERING_CONFIG";

/// How different a name may be from a misspelt key and still be offered instead.
const DISTANCE_MAX: usize = 4;

/// The settings of the file that was named, or none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfigFile {
    path: PathBuf,
    /// Values by the flag's name without its dashes.
    values: BTreeMap<String, String>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is far too long.
    #[error("the configuration {path} is longer than {FILE_LEN_MAX} bytes")]
    TooLong {
        /// Which file.
        path: PathBuf,
    },
    /// It is not TOML.
    #[error("the configuration {path} is not TOML: {source}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
    /// A key that is no setting.
    #[error("{path}: there is no setting {key}{}", did_you_mean(nearest.as_deref()))]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The setting that was perhaps meant.
        nearest: Option<String>,
    },
    /// A value of a kind that no setting has.
    #[error("{path}: {key} must be a text, a number, true or false")]
    Value {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// Two spellings of one key.
    #[error("{path}: {key} is set twice")]
    Twice {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean {name}?"),
        None => "; `treering-server config reference` lists them".to_owned(),
    }
}

impl ConfigFile {
    /// The file that `arguments`, or else the environment, name; empty if none is named.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn find(arguments: &[OsString]) -> Result<Self, ConfigError> {
        let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
        match named(arguments).or(variable) {
            Some(path) => Self::read(Path::new(&path)),
            None => Ok(Self::default()),
        }
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > FILE_LEN_MAX {
            return Err(ConfigError::TooLong { path: path.to_owned() });
        }
        Self::parse(path, &std::fs::read_to_string(path).map_err(failed)?)
    }

    /// The settings in `text`, which was read from `path`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let syntax = |source| ConfigError::Syntax { path: path.to_owned(), source };
        let table: toml::Table = toml::from_str(text).map_err(syntax)?;
        let mut file = Self { path: path.to_owned(), values: BTreeMap::new() };
        let known = settings();
        for (key, value) in table {
            match value {
                toml::Value::Table(inner) => {
                    for (inner_key, value) in inner {
                        file.set(&known, &format!("{key}.{inner_key}"), value)?;
                    }
                }
                value => file.set(&known, &key, value)?,
            }
        }
        Ok(file)
    }

    fn set(&mut self, known: &[String], key: &str, value: toml::Value) -> Result<(), ConfigError> {
        let path = self.path.clone();
        let name = key.replace(['_', '.'], "-");
        if !known.contains(&name) {
            let nearest = nearest(known, &name);
            return Err(ConfigError::Unknown { path, key: key.to_owned(), nearest });
        }
        let text = text(&value);
        let text = text.ok_or(ConfigError::Value { path: path.clone(), key: key.to_owned() })?;
        match self.values.insert(name, text) {
            None => Ok(()),
            Some(_) => Err(ConfigError::Twice { path, key: key.to_owned() }),
        }
    }

    /// `command` with the values of the file as defaults, in every command that has such flags.
    pub fn apply(&self, command: Command) -> Command {
        let names: Vec<String> =
            command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        let with_subcommands = names
            .into_iter()
            .fold(command, |command, name| command.mut_subcommand(name, |sub| self.apply(sub)));
        with_subcommands.mut_args(|argument| {
            let value = argument.get_long().and_then(|name| self.values.get(name)).cloned();
            match value {
                Some(value) => argument.required(false).default_value(value),
                None => argument,
            }
        })
    }

    /// Whether the file sets the flag of this name.
    pub fn sets(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Where the file is; `None` if there is none.
    pub fn path(&self) -> Option<&Path> {
        (!self.path.as_os_str().is_empty()).then_some(&self.path)
    }

    /// What to say beside an error of the parser, which knows nothing of the file.
    pub fn note(&self) -> Option<String> {
        let path = self.path()?;
        let values: Vec<String> =
            self.values.iter().map(|(name, text)| format!("{name} = {text}")).collect();
        Some(format!("note: {} sets {}", path.display(), values.join("; ")))
    }
}

/// The value of `--config` on the command line, the last one as everywhere. It is looked for before
/// the rest is parsed, because the rest is parsed with what it says.
fn named(arguments: &[OsString]) -> Option<OsString> {
    let mut arguments = arguments.iter();
    let mut found = None;
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--config" {
            found = arguments.next().cloned();
        } else if let Some(path) = text.strip_prefix("--config=") {
            found = Some(path.into());
        }
    }
    found
}

/// The names of all settings: the flags of `serve`.
fn settings() -> Vec<String> {
    let command = crate::cli::serve::command();
    let flags = command.get_arguments().filter_map(|argument| argument.get_long());
    flags.filter(|name| !matches!(*name, "help" | "config")).map(str::to_owned).collect()
}

fn nearest(known: &[String], name: &str) -> Option<String> {
    let distances = known.iter().map(|known| (damerau_levenshtein(known, name), known));
    let (distance, nearest) = distances.min()?;
    (distance <= DISTANCE_MAX.min(name.len() / 2)).then(|| nearest.clone())
}

fn text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, ConfigError> {
        ConfigFile::parse(Path::new("server.toml"), text)
    }

    #[test]
    fn keys_are_flags_and_tables_are_prefixes() {
        let file = parse("listen = \"127.0.0.1:1\"\nopen_writes = true\n[tls]\nkey = \"k\"\n");
        let file = file.unwrap();
        assert!(file.sets("listen") && file.sets("open-writes") && file.sets("tls-key"));
        assert!(!file.sets("data"));
    }

    #[test]
    fn what_is_no_setting_is_refused_with_the_nearest_name() {
        let error = parse("lisen = \"x\"").unwrap_err().to_string();
        assert_eq!(error, "server.toml: there is no setting lisen; did you mean listen?");
        let error = parse("[tls]\ncertificat = \"x\"").unwrap_err().to_string();
        assert!(error.ends_with("no setting tls.certificat; did you mean tls-certificate?"));
        let error = parse("completely-different = 1").unwrap_err().to_string();
        assert!(error.ends_with("`treering-server config reference` lists them"), "{error}");
        assert!(matches!(parse("config = \"x\""), Err(ConfigError::Unknown { .. })));
    }

    #[test]
    fn what_no_setting_can_be_is_refused() {
        assert!(matches!(parse("listen = 1.5"), Err(ConfigError::Value { .. })));
        assert!(matches!(parse("listen = [\"127.0.0.1:1\"]"), Err(ConfigError::Value { .. })));
        assert!(matches!(parse("[tls.deep]\nkey = 1"), Err(ConfigError::Unknown { .. })));
        assert!(matches!(
            parse("open-writes = true\nopen_writes = true"),
            Err(ConfigError::Twice { .. })
        ));
        assert!(matches!(parse("listen = "), Err(ConfigError::Syntax { .. })));
    }

    #[test]
    fn the_file_is_named_by_either_form_of_the_flag() {
        let named = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            super::named(&arguments)
        };
        assert_eq!(named(&["x", "serve", "--config", "a"]), Some("a".into()));
        assert_eq!(named(&["x", "--config=b", "serve"]), Some("b".into()));
        assert_eq!(named(&["x", "serve"]), None);
        assert_eq!(named(&["x", "--config"]), None);
    }
}
