//! `homing source`

use super::Home;

const SOURCE: &str = "[source.livestream.main]\nurl = \"https://stream.example.com/s\"\n\
                      client_id = \"id\"\nclient_secret = \"hidden\"\n";

#[test]
fn sources_are_listed_shown_paused_reset_and_resumed() {
    let home = Home::new();
    let none = home.run(&["source", "list"]);
    assert!(none.stderr.contains("No source is configured"), "{}", none.stderr);
    let nothing = home.run(&["run", "--role", "source"]);
    assert_eq!(nothing.code, 2);
    assert!(nothing.stderr.contains("`source.livestream`: nothing to read"), "{}", nothing.stderr);

    home.write("homing.toml", format!("{}{SOURCE}", super::SCHEDULE).as_bytes());
    assert_eq!(home.run(&["source", "pause", "main"]).done(), "paused main\n");
    let reset = home.run(&["source", "reset", "main", "--to", "smallest"]).done();
    assert_eq!(reset, "the next connect of main will ask for reset=smallest\n");
    let listed = home.run(&["source", "list"]).done();
    let line = listed.lines().nth(1).unwrap();
    assert!(
        line.starts_with("main  0 of 1     livestream.*") && line.ends_with("paused"),
        "{line}"
    );
    let shown = home.run(&["source", "get", "main"]).done();
    assert!(
        shown.contains("next reset    smallest\n") && shown.contains("\n   1  free"),
        "{shown}"
    );
    let status = home.run(&["status"]).done();
    assert!(status.contains("source  main paused, 0 of 1 connected\n"), "{status}");
    let resumed = home.run(&["source", "resume", "main", "--json"]).json();
    assert_eq!((&resumed["state"], &resumed["reset"]), (&"running".into(), &"smallest".into()));

    let unknown = home.run(&["source", "get", "other"]);
    assert_eq!(unknown.code, 1);
    let expected = "homing: there is no source `other` in the settings; there are: main\n";
    assert_eq!(unknown.stderr, expected);
    let checked = home.run(&["run", "--check"]).done();
    assert!(checked.contains("source.livestream.main.client_secret = \"****\""), "{checked}");
    assert!(!checked.contains("hidden"));
}
