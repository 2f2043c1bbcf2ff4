//! Keys and signatures that OpenSSL made are understood, and what is signed here verifies.

use aws_lc_rs::encoding::AsDer;

use super::*;

const ED25519_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAyI4OqIO2AJ2f2TKsqyV6a5d1TZTubBcqs1PiP9AhlsA=\n\
    -----END PUBLIC KEY-----\n";
const P256_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2UY1uqgAyZRH64XEkT7PDicrrmbw\n\
    5hMlqZArEDCAGqUdgA/Xfcx5R7xluT+phhBoKNRVehH2t8CRp9vHqt3VIQ==\n\
    -----END PUBLIC KEY-----\n";
const P384_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
    MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEsMHYiXJeB0Hayp4u6fX0Y3eTDJ8w4LAc\n\
    ocd0BIxwhqcxNn/qjJ9h73xkubcHmQuPX9q7m+dTMrtQXsVUknBJMp4TpCpwYscK\n\
    oDBifmh6HFQf1xaEg5yhfh8OJbSH+ouV\n\
    -----END PUBLIC KEY-----\n";
/// `openssl dgst -sha256 -binary FILE > D; openssl pkeyutl -sign -rawin -inkey KEY -in D`
const ED25519_SIGNATURE: &str =
    "P6/DRivytppJlenP1FzqNV8t6DDyGieSUouBlb2kHln7iUVg0jjYuXkQqg1nV+rh4v+mrk72QaNKED/hLe6JDw==";
/// `openssl dgst -sha256 -sign KEY FILE`
const P256_SIGNATURE: &str =
    "MEUCIQDtV8YZQtgsbSs+5KVagg4cMWfjy3I+/mh/VHIJH0sPuQIgW4C7/tSTfseAZ/WxvIkMeayvXyHDRb/xi/74UkLI1UY=";
const FILE: &[u8] = b"the plugin";

fn public(pem: &str) -> PublicKey {
    PublicKey::from_pem("key.pem", pem.as_bytes()).unwrap()
}

fn pem(kind: &str, der: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", BASE64.encode(der))
}

fn verifies(key: &PublicKey, content: &[u8], signature: &str) -> bool {
    key.verifies_file(content, Digest::of(content), &BASE64.decode(signature.trim().as_bytes()).unwrap())
}

#[test]
fn signatures_of_openssl_verify() {
    for (pem, signature) in [(ED25519_PEM, ED25519_SIGNATURE), (P256_PEM, P256_SIGNATURE)] {
        let key = public(pem);
        assert!(verifies(&key, FILE, signature));
        assert!(!verifies(&key, b"the plugiN", signature));
    }
    assert!(!verifies(&public(ED25519_PEM), FILE, P256_SIGNATURE));
}

#[test]
fn the_id_is_what_openssl_and_sha256sum_show() {
    let id = "sha256:4534cf63335c514ecc1cbd5cb332aa70ac5b0e78b06abe621fc08d94a759f695";
    assert_eq!(public(ED25519_PEM).id(), id);
    let id = "sha256:9bd852e790d184a15fcdac4191bf82bb63d6cdee6166066f81fc2b029f9e9ff4";
    assert_eq!(public(P256_PEM).to_string(), format!("`key.pem` ({id})"));
}

#[test]
fn what_is_signed_here_verifies_with_the_public_half() {
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let halves = [
        (
            ed25519.to_pkcs8().unwrap().as_ref().to_vec(),
            AsDer::<PublicKeyX509Der<'_>>::as_der(ed25519.public_key()).unwrap(),
        ),
        (
            p256.to_pkcs8v1().unwrap().as_ref().to_vec(),
            AsDer::<PublicKeyX509Der<'_>>::as_der(p256.public_key()).unwrap(),
        ),
    ];
    for (private, der) in halves {
        let private = SigningKey::from_pem("k", pem("PRIVATE KEY", &private).as_bytes()).unwrap();
        let public = public(&pem("PUBLIC KEY", der.as_ref()));
        assert_eq!(private.id(), public.id());
        assert!(verifies(&public, FILE, &private.sign_file(FILE).unwrap()));
    }
}

#[test]
fn other_keys_are_refused_by_name() {
    let error = |pem: &str| PublicKey::from_pem("key.pem", pem.as_bytes()).unwrap_err().to_string();
    assert_eq!(error(P384_PEM), "`key.pem` is neither an Ed25519 nor a P-256 key");
    assert_eq!(error("ssh-ed25519 AAAA"), "`key.pem` holds no PUBLIC KEY in PEM");
    let encrypted = pem("ENCRYPTED COSIGN PRIVATE KEY", b"x");
    let error = SigningKey::from_pem("cosign.key", encrypted.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "`cosign.key` holds no unencrypted PRIVATE KEY in PEM");
}
