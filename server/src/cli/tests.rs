use super::*;

/// Everything that is not a setting but an order, and has no place in the environment.
fn is_exempt(long: &str) -> bool {
    matches!(long, "help" | "version")
}

#[test]
fn every_flag_has_a_variable_and_every_command_examples() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            let Some(long) = argument.get_long().filter(|long| !is_exempt(long)) else { continue };
            let variable = argument.get_env().map(|env| env.to_string_lossy().into_owned());
            let expected = match (command.get_name(), long) {
                // A secret: not where somebody has backups put.
                ("create", "out") => "TREERING_TOKEN_OUT".to_owned(),
                _ => format!("TREERING_{}", long.replace('-', "_").to_uppercase()),
            };
            assert_eq!(variable, Some(expected), "--{long} of {}", command.get_name());
        }
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        if !command.has_subcommands() {
            assert!(examples.contains("treering-server "), "{} has no example", command.get_name());
        }
        command.get_subcommands().for_each(check);
    }
    Cli::command().debug_assert();
    check(&Cli::command());
}

/// Parses a command line as the process would, with `text` as its configuration file.
fn parsed(text: &str, arguments: &[&str]) -> Result<clap::ArgMatches, clap::Error> {
    let file = ConfigFile::parse(std::path::Path::new("server.toml"), text).unwrap();
    file.apply(Cli::command()).try_get_matches_from(arguments)
}

#[test]
fn the_file_stands_below_flags_and_gives_what_is_required() {
    let text = "data = \"/from/file\"\nlisten = \"127.0.0.1:1\"\nopen-writes = true\n";
    let value = |matches: &clap::ArgMatches, id: &str| {
        let (_, serve) = matches.subcommand().unwrap();
        serve.get_raw(id).unwrap().next().unwrap().to_str().unwrap().to_owned()
    };
    let matches = parsed(text, &["treering-server", "serve"]).unwrap();
    assert_eq!(value(&matches, "data"), "/from/file");
    assert_eq!(value(&matches, "listen"), "127.0.0.1:1");
    assert_eq!(value(&matches, "open_writes"), "true");
    let flags = ["treering-server", "serve", "--listen", "127.0.0.1:2", "--open-writes=false"];
    let matches = parsed(text, &flags).unwrap();
    assert_eq!(value(&matches, "listen"), "127.0.0.1:2");
    assert_eq!(value(&matches, "open_writes"), "false");
    // What the file says about the log holds for every command.
    let matches = parsed(text, &["treering-server", "fsck"]).unwrap();
    assert_eq!(value(&matches, "data"), "/from/file");
    assert!(parsed("", &["treering-server", "fsck"]).is_err());
    assert!(parsed("listen = \"nowhere\"", &["treering-server", "serve", "--data", "d"]).is_err());
}

#[test]
fn the_reference_is_what_the_program_prints() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(written, crate::config::reference(), "run `treering-server config reference`");
}
