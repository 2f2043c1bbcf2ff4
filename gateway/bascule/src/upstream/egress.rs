//! Which addresses may be connected to. The rule holds on what was *resolved*, not on what was named.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an integration's connections may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// `allow_private = true`: private and link-local networks too.
    pub allow_private: bool,
    /// The configured host was itself a loopback address or `localhost`.
    pub allow_loopback: bool,
}

impl EgressPolicy {
    /// Whether the address may be connected to.
    ///
    /// Forms that wrap an IPv4 address (mapped, compatible, NAT64, 6to4) are judged by the address in them.
    pub fn allows(self, address: IpAddr) -> bool {
        let address = unwrap(address);
        if is_loopback(address) {
            return self.allow_loopback;
        }
        if is_never_a_server(address) {
            return false;
        }
        self.allow_private || !is_private(address)
    }
}

/// The IPv4 address inside an IPv6 form that routes to it.
fn unwrap(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [w, x] = high.to_be_bytes();
        let [y, z] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(w, x, y, z))
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) => v4(g, h),
        (0, 0, 0, 0, 0, 0) if (g, h) != (0, 0) && (g, h) != (0, 1) => v4(g, h),
        (0x64, 0xff9b, 0, 0, 0, 0) | (0x64, 0xff9b, 1, ..) => v4(g, h),
        (0x2002, high, low, ..) => v4(high, low),
        _ => address,
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback(),
    }
}

/// Unspecified, multicast, broadcast and reserved addresses: no configuration allows them.
fn is_never_a_server(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            first == 0 || first >= 224
        }
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_private()
                || v4.is_link_local()
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19))
        }
        IpAddr::V6(v6) => is_private_v6(v6),
    }
}

/// Unique local (`fc00::/7`), link-local (`fe80::/10`) and the deprecated site-local (`fec0::/10`).
fn is_private_v6(address: Ipv6Addr) -> bool {
    let [first, ..] = address.segments();
    first & 0xfe00 == 0xfc00 || first & 0xff80 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(policy: EgressPolicy, address: &str) -> bool {
        policy.allows(address.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_allowed_and_private_ones_are_not() {
        let policy = EgressPolicy::default();
        for public in ["93.184.216.34", "2606:2800:220:1::1", "100.128.0.1", "172.32.0.1"] {
            assert!(allows(policy, public), "{public}");
        }
        let private = [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "172.16.3.4",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "::",
            "198.18.0.1",
        ];
        for address in private {
            assert!(!allows(policy, address), "{address}");
        }
    }

    #[test]
    fn wrapped_addresses_are_judged_by_what_they_wrap() {
        let policy = EgressPolicy::default();
        for address in
            ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a00:1::", "::10.0.0.1"]
        {
            assert!(!allows(policy, address), "{address}");
        }
        assert!(allows(policy, "::ffff:93.184.216.34"));
    }

    #[test]
    fn private_and_loopback_are_separate_permissions() {
        let private = EgressPolicy { allow_private: true, allow_loopback: false };
        assert!(allows(private, "10.0.0.1") && !allows(private, "127.0.0.1") && !allows(private, "0.0.0.0"));
        let loopback = EgressPolicy { allow_private: false, allow_loopback: true };
        assert!(allows(loopback, "127.0.0.1") && allows(loopback, "::1") && !allows(loopback, "10.0.0.1"));
    }
}
