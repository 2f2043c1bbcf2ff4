//! Nothing is connected to that the egress rule does not allow, and nothing without TLS but this machine.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use bascule_plugin_source::*;

use crate::registry::{Lie, Login, Registry};
use crate::support::*;

#[tokio::test]
async fn a_denied_address_is_not_connected_to() {
    let registry = Registry::start().await;
    registry.put_plugin("1", PLUGIN);
    let place = Place::with(|config| config.egress = Arc::new(|_, _| false));
    let error = place.error(&wanted(&registry.reference(":1"))).await;
    assert!(error.ends_with("`127.0.0.1` resolves to 127.0.0.1, which is not allowed"), "{error}");
    assert!(registry.take_asked().is_empty());
}

#[tokio::test]
async fn the_rule_is_asked_again_where_a_redirect_leads() {
    let registry = Registry::start().await;
    registry.put_plugin("1", PLUGIN);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let keep = asked.clone();
    let metadata = IpAddr::from(Ipv4Addr::new(169, 254, 169, 254));
    let place = Place::with(|config| {
        config.egress = Arc::new(move |host, address| {
            keep.lock().unwrap().push((host.to_owned(), address));
            address != metadata
        });
    });
    registry.state().lie = Lie::Redirect("/blobs/", "https://169.254.169.254/latest".to_owned());
    let error = place.error(&wanted(&registry.reference(":1"))).await;
    assert!(
        error.ends_with("`169.254.169.254` resolves to 169.254.169.254, which is not allowed"),
        "{error}"
    );
    assert_eq!(asked.lock().unwrap().last().unwrap().1, metadata);
}

#[tokio::test]
async fn no_other_machine_is_spoken_to_without_tls() {
    let (registry, place) = (Registry::start().await, Place::new());
    registry.put_plugin("1", PLUGIN);
    // From the range for documentation: nobody's address, so a connection would fail in another way.
    let elsewhere = "http://192.0.2.1/x";
    let expected = "`http://192.0.2.1/x` would be fetched without TLS from another machine";
    registry.state().lie = Lie::Redirect("/blobs/", elsewhere.to_owned());
    let error = place.error(&wanted(&registry.reference(":1"))).await;
    assert!(error.ends_with(expected), "{error}");
    registry.state().login = Login::TokenFrom(elsewhere.to_owned());
    let error = place.error(&wanted(&registry.reference(":1"))).await;
    assert!(error.ends_with(expected), "{error}");
}

#[tokio::test]
async fn other_schemes_of_token_servers_and_blobs_are_refused() {
    let (registry, place) = (Registry::start().await, Place::new());
    registry.put_plugin("1", PLUGIN);
    registry.state().lie = Lie::Redirect("/blobs/", "file:///etc/passwd".to_owned());
    place.obtain(&wanted(&registry.reference(":1"))).await.unwrap_err();
    registry.state().login = Login::TokenFrom("file:///etc/passwd".to_owned());
    let error = place.error(&wanted(&registry.reference(":1"))).await;
    assert!(error.ends_with("its token server is not one of HTTP"), "{error}");
}

#[tokio::test]
async fn nothing_listening_is_unreachable() {
    let address = { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    let error = Place::new().obtain(&wanted(&format!("oci://{address}/a:1"))).await.unwrap_err();
    assert!(matches!(error, SourceError::Fetch { source: FetchError::Unreachable { .. }, .. }), "{error}");
}
