//! The small internet of a load test: so many domains over so many sites, each
//! site one exchanger with a loopback address of its own as long as addresses
//! last.
//!
//! Never leaves 127.77.0.0/16, and is the same whenever it is asked for.

use std::net::{IpAddr, Ipv4Addr};

use crate::nameserver::Zones;
use crate::workload::{DOMAINS_MAX, Workload};

/// Addresses in use at most; more sites than this share them.
pub const ADDRESSES_MAX: u32 = 2_000;

/// Domains and the sites that take their mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    domains: u32,
    sites: u32,
}

impl World {
    /// `domains` over `sites`, both at least 1 and at most [`DOMAINS_MAX`]; no
    /// more sites than domains.
    pub fn new(domains: u32, sites: u32) -> Self {
        let domains = domains.clamp(1, DOMAINS_MAX);
        Self { domains, sites: sites.clamp(1, domains) }
    }

    /// Its domains.
    pub fn domains(self) -> u32 {
        self.domains
    }

    /// Its sites.
    pub fn sites(self) -> u32 {
        self.sites
    }

    /// The site that takes mail for a domain, both counted from 0.
    pub fn site_of(self, domain: u32) -> u32 {
        domain % self.sites
    }

    /// The address of a site's exchanger.
    pub fn address(self, site: u32) -> Ipv4Addr {
        let number = site % self.sites.min(ADDRESSES_MAX);
        // Neither 0 nor 255 as last octet: they look like networks to some.
        Ipv4Addr::new(127, 77, (number / 250) as u8, (number % 250) as u8 + 1)
    }

    /// Addresses of all exchangers, each once, in order of the sites.
    pub fn addresses(self) -> Vec<IpAddr> {
        (0..self.sites.min(ADDRESSES_MAX)).map(|site| IpAddr::V4(self.address(site))).collect()
    }

    /// The name of a site's exchanger.
    pub fn exchanger(site: u32) -> String {
        format!("mx{}.sites.example", site + 1)
    }

    /// What a name server knows of it.
    pub fn zones(self) -> Zones {
        let mut zones = Zones::new();
        for domain in 0..self.domains {
            zones.mx(&Workload::domain(domain), 10, &Self::exchanger(self.site_of(domain)));
        }
        for site in 0..self.sites {
            zones.address(&Self::exchanger(site), IpAddr::V4(self.address(site)));
        }
        zones
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_site_has_its_address_while_they_last() {
        let world = World::new(10_000, 500);
        let addresses: BTreeSet<IpAddr> = world.addresses().into_iter().collect();
        assert_eq!((addresses.len(), world.site_of(9_999)), (500, 499));
        assert!(addresses.iter().all(IpAddr::is_loopback));
        let wide = World::new(100_000, 50_000);
        assert_eq!(wide.addresses().len(), ADDRESSES_MAX as usize);
        assert_eq!(wide.address(ADDRESSES_MAX), wide.address(0));
        assert_eq!(World::new(3, 9).sites(), 3, "no site without a domain");
    }

    #[test]
    fn the_name_server_knows_every_domain_and_exchanger() {
        let zones = World::new(20, 5).zones();
        for domain in 0..20 {
            assert!(zones.exists(&Workload::domain(domain)));
        }
        assert!(zones.exists("mx5.sites.example") && !zones.exists("mx6.sites.example"));
    }
}
