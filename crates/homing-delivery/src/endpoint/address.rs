//! The addresses that homing may call.
//!
//! A client that may write a subscription chooses where homing connects to, from inside the
//! operator's network. Without this check, that client could reach what only homing can reach:
//! neighbours, the loopback interface, the metadata service with the machine's credentials
//! (server-side request forgery, OWASP *SSRF Prevention Cheat Sheet*).
//!
//! For IPv4, everything may be called except the special-purpose blocks. For IPv6 it is the other
//! way round: only `2000::/3` is allocated to the public internet, so nothing else may be called,
//! and future allocations are refused until they are reviewed. Addresses that carry an IPv4 address
//! are judged by that address, because that is where the packets go.
//!
//! Source: IANA *IPv4 Special-Purpose Address Registry* and *IPv6 Special-Purpose Address
//! Registry* (RFC 6890, RFC 8190), IANA *IPv6 Global Unicast Address Assignments*.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// With the first three groups, which is all that the blocks below need.
const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

const SPECIAL_V4: &[Ipv4Net] = &[
    v4(0, 0, 0, 0, 8),     // this network; Linux connects 0.0.0.0 to loopback. RFC 791
    v4(10, 0, 0, 0, 8),    // private. RFC 1918
    v4(100, 64, 0, 0, 10), // behind a carrier's NAT; metadata of Alibaba Cloud. RFC 6598
    v4(127, 0, 0, 0, 8),   // loopback. RFC 1122
    v4(168, 63, 129, 16, 32), // the virtual machine's host. Microsoft, *IP address 168.63.129.16*
    v4(169, 254, 0, 0, 16), // link-local; metadata of AWS, Azure, Google Cloud. RFC 3927
    v4(172, 16, 0, 0, 12), // private. RFC 1918
    v4(192, 0, 0, 0, 24),  // protocol assignments; metadata of Oracle Cloud. RFC 6890
    v4(192, 0, 2, 0, 24),  // documentation. RFC 5737
    v4(192, 88, 99, 0, 24), // 6to4 relays. RFC 7526
    v4(192, 168, 0, 0, 16), // private. RFC 1918
    v4(198, 18, 0, 0, 15), // benchmarking. RFC 2544
    v4(198, 51, 100, 0, 24), // documentation. RFC 5737
    v4(203, 0, 113, 0, 24), // documentation. RFC 5737
    v4(224, 0, 0, 0, 4),   // multicast. RFC 5771
    v4(240, 0, 0, 0, 4),   // reserved, and broadcast. RFC 1112, RFC 8190
];

/// The part of IPv6 that is allocated to the public internet. RFC 4291.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Special blocks within [`GLOBAL_V6`].
const SPECIAL_V6: &[Ipv6Net] = &[
    v6(0x2001, 0, 0, 23), // protocol assignments, Teredo and ORCHID included. RFC 2928
    v6(0x2001, 0xdb8, 0, 32), // documentation. RFC 3849
    v6(0x3fff, 0, 0, 20), // documentation. RFC 9637
];

/// Prefixes of addresses that end in the IPv4 address they carry.
const CARRY_V4_LAST: &[Ipv6Net] = &[
    // IPv4-mapped: the kernel connects by IPv4. RFC 4291.
    Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    // NAT64. The local-use 64:ff9b:1::/48 (RFC 8215) is refused: each network chooses where in it
    // the IPv4 address is. RFC 6052.
    v6(0x64, 0xff9b, 0, 96),
];

/// 6to4: the IPv4 address follows the first group. RFC 3056.
const CARRY_V4_SECOND: Ipv6Net = v6(0x2002, 0, 0, 16);

/// True if homing may connect to `address`: it is public, or in one of `networks`, or carries an
/// IPv4 address of which that is true.
#[must_use]
pub fn allowed(address: IpAddr, networks: &[IpNet]) -> bool {
    if networks.iter().any(|network| network.contains(&address)) {
        return true;
    }
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|block| block.contains(&address)),
        IpAddr::V6(address) => match carried(address) {
            Some(carried) => allowed(carried.into(), networks),
            None => {
                GLOBAL_V6.contains(&address)
                    && !SPECIAL_V6.iter().any(|block| block.contains(&address))
            }
        },
    }
}

/// The IPv4 address that receives packets to `address`.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, second, third, .., seventh, last] = address.segments();
    let (high, low) = if CARRY_V4_LAST.iter().any(|block| block.contains(&address)) {
        (seventh, last)
    } else if CARRY_V4_SECOND.contains(&address) {
        (second, third)
    } else {
        return None;
    };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

/// The address in `url`, if its host is not a name.
///
/// Such a host is never resolved, so it has to be checked before the request. Every spelling that
/// means an address (`127.1`, `0x7f000001`, `2130706433`) is one after parsing.
/// Source: WHATWG *URL Standard*, *host parsing*.
#[must_use]
pub fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// The address that the host of a parsed URL is; `None`: it is a name.
pub(super) fn literal_host(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn public_addresses_are_called() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700:4700::1111",
            "2a00:1450:4001:80e::200e",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(allowed(ip(text), &[]), "{text}");
        }
    }

    #[test]
    fn special_addresses_are_refused() {
        for text in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.0.0",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.0",
            "255.255.255.255", // IPv6:
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:0:8.8.8.8",
            "64:ff9b::a00:1",
            "64:ff9b:1::808:808",
            "100::1",
            "2001::4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ffff::1",
        ] {
            assert!(!allowed(ip(text), &[]), "{text}");
        }
    }

    #[test]
    fn listed_networks_are_called_in_whatever_form_and_no_others() {
        let networks = nets(&["10.1.0.0/16", "fd12::/16"]);
        for text in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd12::1"] {
            assert!(allowed(ip(text), &networks), "{text}");
        }
        for text in ["10.2.0.1", "::ffff:10.2.0.1", "127.0.0.1", "::1", "fd13::1"] {
            assert!(!allowed(ip(text), &networks), "{text}");
        }
    }

    #[test]
    fn every_spelling_of_an_address_is_seen_as_that_address() {
        for (host, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("１２７。０。０。１", "127.0.0.1"),
            ("%31%32%37.0.0.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
            ("[0:0:0:0:0:ffff:7f00:1]", "::ffff:127.0.0.1"),
        ] {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert_eq!(literal(&url), Some(ip(address)), "{host}");
        }
        assert_eq!(literal(&Url::parse("http://localhost/").unwrap()), None);
    }

    /// The forms in which IPv6 carries `address`.
    fn forms(address: Ipv4Addr) -> [Ipv6Addr; 3] {
        let [a, b, c, d] = address.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        [
            address.to_ipv6_mapped(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        ]
    }

    /// Addresses near the borders of blocks are as likely as all others together.
    fn addresses() -> impl Strategy<Value = Ipv4Addr> {
        let borders =
            (0..SPECIAL_V4.len(), -2_i64..=2, any::<bool>()).prop_map(|(at, off, last)| {
                let block = SPECIAL_V4[at];
                let border = if last { block.broadcast() } else { block.network() };
                let near = i64::from(u32::from(border)).saturating_add(off);
                Ipv4Addr::from(u32::try_from(near).unwrap_or(0))
            });
        prop_oneof![any::<u32>().prop_map(Ipv4Addr::from), borders]
    }

    proptest! {
        /// Goal: no form of an address evades the check. Method: an IPv6 form is judged as the IPv4
        /// address in it, unless the form itself is listed.
        #[test]
        fn no_ipv6_form_is_called_when_its_ipv4_address_is_not(address in addresses()) {
            for form in forms(address) {
                prop_assert_eq!(allowed(form.into(), &[]), allowed(address.into(), &[]));
                let listed = [IpNet::from(IpAddr::V6(form))];
                prop_assert!(allowed(form.into(), &listed));
            }
        }

        /// Goal: the check covers at least what the standard library calls special.
        #[test]
        fn addresses_special_to_the_standard_library_are_refused(address in addresses()) {
            if address.is_private() || address.is_loopback() || address.is_link_local()
                || address.is_multicast() || address.is_broadcast() || address.is_documentation()
                || address.is_unspecified()
            {
                prop_assert!(!allowed(address.into(), &[]));
            }
        }

        #[test]
        fn listing_a_network_never_takes_another_away(bits in any::<u128>(), at in any::<u32>()) {
            let address = IpAddr::V6(Ipv6Addr::from(bits));
            let networks = [IpNet::from(IpAddr::V4(Ipv4Addr::from(at)))];
            prop_assert!(!allowed(address, &[]) || allowed(address, &networks));
        }
    }
}
