use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::*;

const ROOT: &str = "[req]\ndistinguished_name=d\nx509_extensions=e\nprompt=no\n[d]\nCN=root\n\
    [e]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";

fn openssl(dir: &Path, arguments: &str) {
    let output =
        Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Makes an authority called `name`, valid for ten years.
pub(crate) fn authority(dir: &Path, name: &str) -> Certificate {
    std::fs::write(dir.join("root.conf"), ROOT).unwrap();
    openssl(
        dir,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
             -config root.conf -keyout {name}.key -out {name}.pem"
        ),
    );
    read(dir, name)
}

/// Makes a leaf called `leaf` under `issuer`, valid for ten days, with this extended key usage.
pub(crate) fn leaf(dir: &Path, issuer: &str, usage: &str) -> Certificate {
    let extensions = format!("subjectAltName=URI:https://ci.example/job\n{usage}\n");
    std::fs::write(dir.join("leaf.ext"), extensions).unwrap();
    openssl(
        dir,
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=leaf -keyout l.key \
         -out l.csr",
    );
    openssl(
        dir,
        &format!(
            "x509 -req -in l.csr -CA {issuer}.pem -CAkey {issuer}.key -days 10 -extfile leaf.ext \
             -out leaf.pem"
        ),
    );
    read(dir, "leaf")
}

fn read(dir: &Path, name: &str) -> Certificate {
    let text = std::fs::read_to_string(dir.join(format!("{name}.pem"))).unwrap();
    Certificate::from_pem(&text).unwrap()
}

#[test]
fn a_chain_holds_under_a_trusted_root_while_all_of_it_is_valid() {
    let dir = TempDir::new().unwrap();
    let (root, other) = (authority(dir.path(), "root"), authority(dir.path(), "other"));
    let signer = leaf(dir.path(), "root", "extendedKeyUsage=codeSigning");
    let during = signer.not_before() + 60;
    check_chain(&signer, &[], std::slice::from_ref(&root), during).unwrap();
    check_chain(&signer, &[], &[other.clone(), root.clone()], during).unwrap();
    let unknown = check_chain(&signer, &[], &[other], during);
    assert!(matches!(unknown, Err(ChainError::NoChain(_))));
    for outside in [signer.not_before() - 60, signer.not_after() + 60] {
        let invalid = check_chain(&signer, &[], std::slice::from_ref(&root), outside);
        assert!(matches!(invalid, Err(ChainError::NoChain(_))));
    }
    assert!(matches!(check_chain(&signer, &[], &[], during), Err(ChainError::NoAuthorities)));
}

#[test]
fn certificates_for_other_uses_and_authorities_themselves_do_not_sign() {
    let dir = TempDir::new().unwrap();
    let root = authority(dir.path(), "root");
    let server = leaf(dir.path(), "root", "extendedKeyUsage=serverAuth");
    let time = server.not_before() + 60;
    let refused = check_chain(&server, &[], std::slice::from_ref(&root), time);
    assert!(matches!(refused, Err(ChainError::NoChain(_))));
    let any = leaf(dir.path(), "root", "keyUsage=digitalSignature");
    check_chain(&any, &[], std::slice::from_ref(&root), any.not_before() + 60).unwrap();
    let itself = check_chain(&root, &[], std::slice::from_ref(&root), time);
    assert!(itself.is_err());
}
