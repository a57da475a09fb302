//! What this host has of networks: the addresses of its interfaces, and the default routes.

use crate::model::canonical_ip;
use std::io;
use std::net::IpAddr;

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceAddr {
    /// The interface's name.
    pub(crate) interface: String,
    /// The address.
    pub(crate) ip: IpAddr,
    /// Whether the interface works at the moment.
    pub(crate) up: bool,
}

/// What has to be known of a host to decide on addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Host {
    /// Every address, in the kernel's order.
    pub(crate) addrs: Vec<InterfaceAddr>,
    /// Names of interfaces, also of those without an address.
    pub(crate) interfaces: Vec<String>,
    /// The interfaces of the default routes, the preferred one first.
    pub(crate) default_routes: Vec<String>,
}

impl Host {
    /// Looks at the host that this process runs on.
    pub(crate) fn look() -> io::Result<Host> {
        let addrs: Vec<InterfaceAddr> = if_addrs::get_if_addrs()?
            .into_iter()
            .map(|i| InterfaceAddr { ip: canonical_ip(i.ip()), up: i.is_oper_up(), interface: i.name })
            .collect();
        // Files of Linux; elsewhere there is no preference, and an interface without addresses is
        // reported as missing.
        let interfaces = std::fs::read_dir("/sys/class/net")
            .map(|entries| entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        let routes_v4 = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        let routes_v6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
        let default_routes = default_routes(&routes_v4, &routes_v6);
        Ok(Host { addrs, interfaces, default_routes })
    }
}

/// The interfaces of default routes in the kernel's tables, IPv4 first, lowest metric first.
fn default_routes(v4: &str, v6: &str) -> Vec<String> {
    const UP: u32 = 1;
    const REJECT: u32 = 0x200;
    let row_v4 = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let &[name, to, _, flags, _, _, metric, mask, ..] = columns.as_slice() else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let default = to == "00000000" && mask == "00000000" && flags & UP != 0 && flags & REJECT == 0;
        default.then_some((metric.parse::<u32>().ok()?, name.to_string()))
    };
    let row_v6 = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let &[to, length, _, _, _, metric, _, _, flags, name] = columns.as_slice() else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let any = length == "00" && to.bytes().all(|b| b == b'0');
        let default = any && name != "lo" && flags & UP != 0 && flags & REJECT == 0;
        default.then_some((u32::from_str_radix(metric, 16).ok()?, name.to_string()))
    };
    let mut found_v4: Vec<_> = v4.lines().filter_map(row_v4).collect();
    let mut found_v6: Vec<_> = v6.lines().filter_map(row_v6).collect();
    found_v4.sort();
    found_v6.sort();
    let mut names = Vec::new();
    for (_, name) in found_v4.into_iter().chain(found_v6) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_read_from_the_kernels_tables() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  wlan0\t00000000\t010200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
                  eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                  eth1\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n";
        let zeros = "0".repeat(32);
        let v6 = format!(
            "{zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth2\n\
             {zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200 lo\n\
             fd{} 40 {zeros} 00 {zeros} 00000100 00000001 00000000 00000001 eth3\n",
            "0".repeat(30)
        );
        assert_eq!(default_routes(v4, &v6), ["eth0", "wlan0", "eth2"]);
        assert_eq!(default_routes("", "rubbish\n"), Vec::<String>::new());
    }
}
