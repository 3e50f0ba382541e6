use treering_proto::hash::sha256;

use super::*;

fn log() -> LogRecord {
    let public = PublicFiles {
        url: "https://log.corp".to_owned(),
        identity: "document\n".to_owned(),
        ml_dsa_vkey: Some("key".to_owned()),
        timestamp_chain: None,
    };
    LogRecord {
        store_format: 1,
        anchor_id: [0xab; 16],
        head: TreeHead { size: TreeSize::new(2).unwrap(), root: Hash([7; 32]) },
        time_ms: 0x0102,
        date_ms: 0x0304,
        remembered: Remembered { witnesses: true, access_policy: true, frozen: true },
        public,
    }
}

fn records() -> Vec<Record> {
    let entry = |time, set: Option<&[u8]>, body: &[u8]| {
        Record::Entry(EntryRecord { time, set: set.map(<[u8]>::to_vec), body: body.to_vec() })
    };
    let notes = NotePair { time_ms: 5, note: "ab".into(), v1_note: "c".into() };
    vec![
        Record::Statement(b"payload".to_vec()),
        entry(8, Some(&[9, 9]), b"first"),
        entry(8, None, b"second"),
        Record::Notes(TreeSize::new(2).unwrap(), notes),
        Record::End(Counts { entries: 2, statements: 1, sets: 1, notes: 1 }),
    ]
}

fn written() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &log()).unwrap();
    for record in records() {
        match record {
            Record::Statement(payload) => writer.statement(&payload).unwrap(),
            Record::Entry(entry) => writer.entry(&entry).unwrap(),
            Record::Notes(size, notes) => writer.notes(size, &notes).unwrap(),
            Record::Log(_) | Record::End(_) => {}
        }
    }
    let (bytes, length) = writer.finish().unwrap();
    assert_eq!(bytes.len() as u64, length);
    bytes
}

fn read(bytes: &[u8]) -> Result<(LogRecord, Vec<Record>), FormatError> {
    let (mut reader, log) = Reader::new(bytes)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next()? {
        records.push(record);
    }
    assert_eq!(reader.position(), bytes.len() as u64);
    Ok((log, records))
}

#[test]
fn a_stream_has_these_golden_bytes() {
    let number = u64::to_be_bytes;
    let body = [
        &b"treering backup3"[..],
        &[1, 0, 0, 0, 111],
        &[0, 0, 0, 1],
        &[0xab; 16],
        &number(2),
        &[7; 32],
        &number(0x0102),
        &number(0x0304),
        &[7],
        &[0, 16],
        b"https://log.corp",
        &[0, 9],
        b"document\n",
        &[0, 3],
        b"key",
        &[2, 0, 0, 0, 7],
        b"payload",
        &[3, 0, 0, 0, 17],
        &number(8),
        &[0, 2, 9, 9],
        b"first",
        &[3, 0, 0, 0, 16],
        &number(8),
        &[0, 0],
        b"second",
        &[4, 0, 0, 0, 23],
        &number(2),
        &number(5),
        &[0, 0, 0, 2],
        b"abc",
        &[5, 0, 0, 0, 32],
        &number(2),
        &number(1),
        &number(1),
        &number(1),
    ]
    .concat();
    let golden = [&body[..], sha256(&body).as_bytes()].concat();
    assert_eq!(written(), golden);
    assert_eq!(read(&golden).unwrap(), (log(), records()));
}

#[test]
fn every_flipped_bit_and_every_cut_is_an_error() {
    let bytes = written();
    for at in 0..bytes.len() {
        assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(read(&flipped).is_err(), "byte {at}, bit {bit}");
        }
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(read(&longer), Err(FormatError::Surplus { .. })));
}

/// `change`d, under a trailer of its own.
fn rewritten(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = written();
    bytes.truncate(bytes.len() - 32);
    change(&mut bytes);
    let trailer = sha256(&bytes);
    [&bytes[..], trailer.as_bytes()].concat()
}

#[test]
fn backups_of_versions_1_and_2_are_of_logs_without_what_came_later() {
    // Magic, header of the record, and its fields up to the settings.
    let settings = 16 + 5 + 4 + 16 + 8 + 32 + 8 + 8;
    let old = |version, flags| {
        rewritten(|bytes| {
            assert_eq!(bytes[settings], 7);
            (bytes[15], bytes[settings]) = (version, flags);
        })
    };
    for (version, flags, witnesses, access_policy) in [
        (b'1', 0, false, false),
        (b'1', 1, true, false),
        (b'2', 2, false, true),
        (b'2', 3, true, true),
    ] {
        let (read, _) = read(&old(version, flags)).unwrap();
        assert_eq!(read.remembered, Remembered { witnesses, access_policy, frozen: false });
    }
    for (version, unknown) in [(b'1', 2), (b'2', 4), (b'3', 8)] {
        let read = read(&old(version, unknown));
        assert!(matches!(read, Err(FormatError::Malformed { at: 16, .. })), "{version}");
    }
}

#[test]
fn a_length_is_not_believed_and_another_version_is_named() {
    let mut bytes = written();
    bytes[17] = 0xff;
    assert!(matches!(read(&bytes), Err(FormatError::TooLong { at: 16, kind: 1, .. })));
    bytes[15] = b'4';
    let error = read(&bytes).unwrap_err();
    assert!(matches!(error, FormatError::OtherVersion { found: '4' }), "{error}");
    assert!(error.to_string().contains("use the version"), "{error}");
    assert!(matches!(read(b"treering"), Err(FormatError::NotABackup)));
    assert!(matches!(read(b"something of another kind"), Err(FormatError::NotABackup)));
    let too_long = vec![0; STATEMENT_LEN_MAX + 1];
    assert!(Writer::new(Vec::new(), &log()).unwrap().statement(&too_long).is_err());
}
