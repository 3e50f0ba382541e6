//! Answers that leave something out: a search, a statement, the other face.

use treering_tests::lying_log::{Lie, LyingLog};
use treering_tests::server::text;

use super::{ALARM, NOT_VERIFIED, Person, log_of};

#[test]
fn a_search_that_hides_the_entry_in_hand_is_noticed() {
    let (keys, honest) = log_of(4);
    let log = LyingLog::show(honest);
    let person = Person::new(&keys, &log.url());
    person.sign("hidden").passes();
    person.verify("hidden", &["--online"]).passes();
    person.run(&["search", "subject-name=hidden"]).passes();
    log.tell(Lie::Hide(4));
    person.verify("hidden", &["--online"]).fails(NOT_VERIFIED, "first-seen");
    person.verify("hidden", &[]).passes();
    log.repent();
    person.verify("hidden", &["--online"]).passes();
}

#[test]
fn a_v1_face_without_an_entry_that_was_proved_is_an_alarm() {
    let (keys, honest) = log_of(4);
    let log = LyingLog::show(honest);
    let person = Person::new(&keys, &log.url());
    person.sign("proved").passes();
    let bundle = person.bundle("proved");
    let exported = ["export", text(&bundle), "--rekor-v1"];
    person.run(&exported).passes();
    let without = log.scene().branch.with_entry_removed(4);
    log.tell(Lie::V1Face(Box::new(without)));
    person.run(&exported).ends(ALARM);
    log.repent();
    person.run(&exported).passes();
}
