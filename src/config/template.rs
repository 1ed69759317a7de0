//! The settings as a file to edit.

use super::DEFAULTS;

const HEAD: &str = "\
# Settings of homing. Every setting is listed with its default, commented out, so this file changes
# nothing. To change a setting, remove the `# ` before its line. `homing run --check` shows
# what is in force.
";

/// Every setting with its comment and its default, commented out; section headers are not.
#[must_use]
pub fn template() -> String {
    let mut text = HEAD.to_owned();
    // The first line describes the file of the defaults.
    for line in DEFAULTS.lines().skip(1) {
        let is_setting = !line.is_empty() && !line.starts_with(['#', '[']);
        text.extend([if is_setting { "# " } else { "" }, line, "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn the_template_changes_nothing() {
        let text = template();
        let unchanged = Settings::from_toml("").unwrap().shown();
        assert_eq!(Settings::from_toml(&text).unwrap().shown(), unchanged);
        let in_force = text.lines().filter(|line| !line.starts_with('#') && line.contains('='));
        assert_eq!(in_force.collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn a_setting_without_its_mark_is_in_force() {
        let text = template();
        insta::assert_snapshot!(text.lines().take(6).collect::<Vec<_>>().join("\n"), @"
        # Settings of homing. Every setting is listed with its default, commented out, so this file changes
        # nothing. To change a setting, remove the `# ` before its line. `homing run --check` shows
        # what is in force.
        #
        # Precedence, lowest first: the defaults, OpenTelemetry's variables (see [traces]), homing.toml (or
        # the file that --config names), the environment, flags.
        ");
        let text = text.replace("# max_in_flight = 1024", "max_in_flight = 64");
        assert_eq!(Settings::from_toml(&text).unwrap().worker.max_in_flight, 64);
    }
}
