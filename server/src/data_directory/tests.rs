use super::*;

#[test]
fn an_owner_record_has_these_golden_bytes() {
    let owner = Owner { inode: 42, anchor_id: [0xab; 16], anchor_path: "/a b/x.anchor".into() };
    let golden = "treering owner 1\ninode 42\n\
                  anchor-id abababababababababababababababab\nanchor /a b/x.anchor\n";
    assert_eq!(owner.to_text(), golden);
    assert_eq!(Owner::parse(golden), Some(owner));
    assert_eq!(Owner::parse(&golden.replace("owner 1", "owner 2")), None);
    assert_eq!(Owner::parse(&golden.replace("42", "x")), None);
}

#[test]
fn a_directory_is_a_log_only_once_it_is_finished_and_only_where_it_was_made() {
    let top = tempfile::tempdir().unwrap();
    let (data, anchor) = (top.path().join("log"), top.path().join("log.anchor"));
    assert_eq!(default_anchor(&data), anchor);
    let made = DataDirectory::create(&data, &anchor, [1; 16]).unwrap();
    assert!(matches!(DataDirectory::open(&data), Err(DirectoryError::Missing { .. })));
    let public = PublicFiles {
        url: "https://log.corp".to_owned(),
        identity: "document".to_owned(),
        ml_dsa_vkey: Some("key".to_owned()),
        timestamp_chain: Some("chain".to_owned()),
    };
    made.finish(&public).unwrap();
    assert_eq!(DataDirectory::public(&data).unwrap(), public);
    assert!(matches!(DataDirectory::open(&data), Err(DirectoryError::Locked { .. })));
    let again = DataDirectory::create(&data, &anchor, [1; 16]);
    assert!(matches!(again, Err(DirectoryError::Exists { .. })));
    drop(made);
    DataDirectory::open(&data).unwrap();

    let copy = top.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in ["FORMAT", "owner", "url", "identity"] {
        fs::copy(data.join(name), copy.join(name)).unwrap();
    }
    assert!(matches!(DataDirectory::open(&copy), Err(DirectoryError::NotOwner { .. })));
    fs::write(data.join("FORMAT"), "treering data 2\n").unwrap();
    assert!(matches!(DataDirectory::open(&data), Err(DirectoryError::OtherVersion { .. })));
}
