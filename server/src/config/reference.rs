//! The reference of all settings, made from the flags themselves: `docs/configuration.md` is what
//! this prints, and a test compares the two.

use std::fmt::Write as _;

use clap::Arg;

/// Markdown: one row for each setting.
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    let command = crate::cli::serve::command();
    for argument in command.get_arguments() {
        let Some(name) = argument.get_long() else { continue };
        if matches!(name, "help" | "config") {
            continue;
        }
        let help = argument.get_long_help().or(argument.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default().replace('\n', " ");
        let help = help.replace('|', "\\|");
        let default = default(argument).unwrap_or_default();
        let value = value(argument);
        writeln!(text, "| `{name}` | {value} | {default} | {help} |")
            .expect("writing to a string does not fail");
    }
    text
}

fn value(argument: &Arg) -> String {
    if !argument.get_possible_values().is_empty() {
        let values = argument.get_possible_values();
        let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
        return names.join(", ");
    }
    let names = argument.get_value_names().unwrap_or_default();
    names.first().map(ToString::to_string).unwrap_or_default()
}

fn default(argument: &Arg) -> Option<String> {
    let values = argument.get_default_values();
    values.first().map(|value| format!("`{}`", value.to_string_lossy()))
}

const INTRODUCTION: &str = "# Configuration

Made by `treering-server config reference`; a test compares the two.

Every setting is a flag of `treering-server serve`, a variable, and a key of the configuration file.
A flag (`--min-free-disk 2000000000`) wins over its variable (`TREERING_MIN_FREE_DISK`), the variable
over the file (`min-free-disk = 2000000000`), the file over the default. The file is TOML, named by
`--config FILE` or `TREERING_CONFIG`; a table is a prefix, so `certificate` in `[tls]` is
`tls-certificate`. A key that is no setting is an error. `treering-server config check` reads the
file and everything it names, `config show` prints each setting with where it comes from.

| setting | value | default | |
|---|---|---|---|
";
