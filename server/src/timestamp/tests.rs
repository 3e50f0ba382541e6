use std::collections::HashSet;
use std::fs;

use treering_proto::key::HashAlgorithm;

use super::*;
use crate::clock::Reading;
use crate::data_directory::PublicFiles;
use crate::signer::{generate_p256_key, write_key};

const NOW: u64 = 1_700_000_000;

/// An authority that was made at `now`, Unix seconds.
pub(crate) fn authority(now: u64) -> Authority {
    Authority::parse(&NewAuthority::at("log.corp", now).key_file).unwrap()
}

fn request() -> TimestampRequest {
    TimestampRequest::new(HashAlgorithm::Sha256, vec![7; 32]).unwrap()
}

/// The time in an answer, as it is written there.
fn time_in(reply: &[u8]) -> String {
    let at = reply.windows(2).position(|window| window == [0x18, 15]).unwrap();
    String::from_utf8(reply[at + 2..at + 17].to_vec()).unwrap()
}

fn at(wall_ms: u64, boot_ms: u64) -> Reading {
    Reading { wall_ms, boot_ms }
}

#[test]
fn a_new_authority_is_the_log_s_own_and_ends_after_ten_years() {
    let authority = authority(NOW);
    assert_eq!(authority.subject(), "CN=timestamp authority,O=log.corp");
    assert_eq!(authority.not_before(), NOW - 60);
    assert_eq!(authority.not_after(), NOW - 60 + VALIDITY_DAYS * 24 * 60 * 60);
    let other = super::tests::authority(NOW);
    assert_ne!(authority.fingerprint(), other.fingerprint(), "each has keys of its own");
    let long = NewAuthority::at(&format!("{}.corp", "x".repeat(200)), NOW);
    let long = Authority::parse(&long.key_file).unwrap();
    assert!(long.subject().ends_with(&format!("O={}.corp", "x".repeat(59))), "{}", long.subject());
}

#[test]
fn files_that_do_not_make_an_authority_are_refused() {
    let file = NewAuthority::at("log.corp", NOW).key_file.to_string();
    let other = NewAuthority::at("log.corp", NOW).key_file.to_string();
    let begin = file.find(CERTIFICATE_BEGIN).unwrap();
    let (key, chain) = file.split_at(begin);
    let second = chain.rfind(CERTIFICATE_BEGIN).unwrap();
    let (leaf, root) = chain.split_at(second);
    let refused = |file: &str| Authority::parse(file).err().unwrap();
    for wrong in ["", key, chain, "nonsense", &key.replace("MI", "MJ"), &[key, key, chain].concat()]
    {
        assert!(matches!(refused(wrong), AuthorityError::NotAKey), "{wrong}");
    }
    let eleven = [key, leaf, &root.repeat(10)].concat();
    for wrong in [&[key, leaf].concat(), &eleven, &[key, leaf, &root[..200]].concat()] {
        assert!(matches!(refused(wrong), AuthorityError::Chain), "{wrong}");
    }
    let swapped = refused(&[key, root, leaf].concat());
    assert!(matches!(swapped, AuthorityError::Leaf(StampCertificateError::Usage)), "{swapped}");
    let of_another = [key, other.split_at(other.find(CERTIFICATE_BEGIN).unwrap()).1].concat();
    assert!(matches!(refused(&of_another), AuthorityError::OtherKey));
    let of_another = [generate_p256_key().as_str(), chain].concat();
    assert!(matches!(refused(&of_another), AuthorityError::OtherKey));
    assert!(Authority::parse(&file).is_ok());
}

#[test]
fn a_log_has_an_authority_when_its_certificates_are_there_and_are_those_of_the_key() {
    let top = tempfile::tempdir().unwrap();
    let (data, anchor) = (top.path().join("log"), top.path().join("log.anchor"));
    let directory = DataDirectory::create(&data, &anchor, [1; 16]).unwrap();
    let public = PublicFiles {
        url: "https://log.corp".to_owned(),
        identity: "document".to_owned(),
        ml_dsa_vkey: None,
        timestamp_chain: None,
    };
    directory.finish(&public).unwrap();
    assert!(Authority::load(&data).unwrap().is_none());
    let new = NewAuthority::at("log.corp", NOW);
    let key = directory.keys().timestamp;
    write_key(&key, &new.key_file).unwrap();
    assert!(Authority::load(&data).unwrap().is_none(), "a key alone is none");
    directory.put_timestamp_chain(&new.chain).unwrap();
    assert_eq!(Authority::load(&data).unwrap().unwrap().chain(), new.chain);
    directory.put_timestamp_chain(&NewAuthority::at("log.corp", NOW).chain).unwrap();
    let refused = Authority::load(&data).err().unwrap();
    assert!(matches!(refused, AuthorityError::OtherChain { .. }), "{refused}");
    assert!(refused.to_string().contains("timestamps init --replace"), "{refused}");
    fs::remove_file(&key).unwrap();
    assert!(matches!(Authority::load(&data), Err(AuthorityError::Key(_))));
    directory.retire_timestamp_chain("old.pem").unwrap();
    assert!(Authority::load(&data).unwrap().is_none());
}

#[test]
fn times_are_those_of_the_log_s_clock_and_never_go_back() {
    let clock = BatchClock::new(NOW * 1000 + 1_500, at(NOW * 1000, 5_000));
    let timestamps = Timestamps::new(authority(NOW), clock.clone());
    let stamp = |wall, boot| timestamps.stamp_at(&request(), at(wall, boot));
    // The log dated an entry 1.5 s ahead of the clock.
    assert_eq!(time_in(&stamp(NOW * 1000, 5_000).unwrap()), "20231114221321Z");
    assert_eq!(time_in(&stamp(NOW * 1000 + 9_999, 14_999).unwrap()), "20231114221329Z");
    assert_eq!(time_in(&stamp(NOW * 1000 + 8_500, 15_000).unwrap()), "20231114221329Z");
    let later = at(NOW * 1000 + 20_000, 25_000);
    assert_eq!(clock.stamp(later), Ok(NOW * 1000 + 20_000), "the log goes on");
    assert_eq!(time_in(&stamp(NOW * 1000 + 19_000, 25_000).unwrap()), "20231114221340Z");

    let behind = stamp(NOW * 1000 + 10_000, 25_000).unwrap_err();
    assert!(matches!(behind, Unstamped::Clock(ClockError::Behind { .. })), "{behind}");
    for wall in [NOW * 1000 + 3_600_000, NOW * 1000 - 3_600_000] {
        let jumped = stamp(wall, 26_000).unwrap_err();
        assert!(matches!(jumped, Unstamped::Clock(ClockError::Jumped { .. })), "{jumped}");
    }
}

#[test]
fn nothing_is_signed_outside_the_time_of_the_certificates() {
    let last = authority(NOW).not_after();
    for (now, is_given) in
        [(NOW - 61, false), (NOW - 60, true), (last - 1, true), (last, true), (last + 1, false)]
    {
        let clock = BatchClock::new(0, at(now * 1000, 0));
        let timestamps = Timestamps::new(authority(NOW), clock);
        let stamped = timestamps.stamp_at(&request(), at(now * 1000, 0));
        assert_eq!(stamped.is_ok(), is_given, "{now}");
        let expired = matches!(stamped, Err(Unstamped::Expired { .. }));
        assert_eq!(expired, !is_given, "{now}");
    }
}

#[test]
fn serial_numbers_do_not_meet() {
    let clock = BatchClock::new(0, at(NOW * 1000, 0));
    let timestamps = Timestamps::new(authority(NOW), clock);
    let serial = || {
        let reply = timestamps.stamp_at(&request(), at(NOW * 1000, 0)).unwrap();
        let at = reply.windows(2).position(|window| window == [0x18, 15]).unwrap();
        let serial = &reply[at - 18..at];
        assert_eq!(serial[..2], [2, 16]);
        serial.to_vec()
    };
    let serials: HashSet<Vec<u8>> = (0..200).map(|_| serial()).collect();
    assert_eq!(serials.len(), 200);
}
