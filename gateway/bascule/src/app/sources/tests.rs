//! Rules, addresses and tags, without any network.

use super::*;
use crate::config::RegistrySettings;
use std::net::IpAddr;

fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

fn allowed(egress: &Egress, host: &str, address: &str) -> bool {
    egress(host, address.parse::<IpAddr>().unwrap())
}

#[test]
fn addresses_of_this_machine_and_of_private_networks_are_reached_only_under_their_names() {
    let private = RegistrySettings { allow_private: true, ..RegistrySettings::default() };
    let rules = SourceRules {
        registries: BTreeMap::from([("registry.corp:5000".to_owned(), private)]),
        ..SourceRules::default()
    };
    let references =
        ["oci://localhost:5000/a:1", "oci://registry.corp:5000/a:1", "https://example.com/a.wasm"]
            .map(reference);
    let egress = egress(&rules, &references);
    assert!(allowed(&*egress, "localhost", "127.0.0.1"));
    assert!(!allowed(&*egress, "localhost", "10.0.0.1"), "a name of this machine is of no other");
    assert!(allowed(&*egress, "registry.corp", "10.0.0.1"));
    assert!(!allowed(&*egress, "registry.corp", "127.0.0.1"));
    assert!(allowed(&*egress, "example.com", "93.184.216.34"));
    for address in ["10.0.0.1", "127.0.0.1", "169.254.169.254"] {
        assert!(!allowed(&*egress, "example.com", address), "{address}");
    }
}

#[test]
fn the_same_plugin_is_obtained_once_and_other_terms_make_another() {
    let plain = Wanted::new(reference("oci://registry.example/a:1"));
    let pinned = Wanted { sha256: Some(Digest::of(b"")), ..plain.clone() };
    assert_eq!(identity(&plain), identity(&plain.clone()));
    assert_ne!(identity(&plain), identity(&pinned));
}
