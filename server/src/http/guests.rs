//! What one address may hold at once: connections, and bytes of requests and answers on the way.
//!
//! Without it a single machine could take every place and all the memory that is set aside for
//! everybody. As with rates (`super::rates`), a /64 network of IPv6 is one client, and this machine
//! itself is not limited unless it is asked for.
//!
//! Invariant: only clients with an open connection are remembered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::rates::{Network, network};
use crate::limits::{ADDRESS_CONNECTIONS_MAX, ADDRESS_KIBIBYTES_MAX, CONNECTIONS_MAX};

/// One client's share.
#[derive(Debug)]
pub struct Guest {
    connections: Arc<Semaphore>,
    /// In KiB.
    pub(super) bytes: Arc<Semaphore>,
}

/// A place for one connection; dropped, it is free again.
#[derive(Clone, Debug)]
pub struct Place {
    /// Whose it is.
    pub guest: Arc<Guest>,
    _connection: Arc<OwnedSemaphorePermit>,
}

/// Everybody who is connected.
pub struct Guests {
    known: Mutex<HashMap<Network, Weak<Guest>>>,
    unlimited: Arc<Guest>,
    limit_loopback: bool,
}

impl Guest {
    fn new(connections: usize, kibibytes: usize) -> Arc<Self> {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits));
        Arc::new(Self { connections: semaphore(connections), bytes: semaphore(kibibytes) })
    }
}

impl Guests {
    /// Nobody is connected.
    pub fn new(limit_loopback: bool) -> Self {
        let unlimited = Guest::new(Semaphore::MAX_PERMITS, Semaphore::MAX_PERMITS);
        Self { known: Mutex::default(), unlimited, limit_loopback }
    }

    /// A place for a connection from `address`; `None` if it has too many.
    pub fn enter(&self, address: IpAddr) -> Option<Place> {
        let guest = self.guest(address);
        let connection = guest.connections.clone().try_acquire_owned().ok()?;
        Some(Place { guest, _connection: Arc::new(connection) })
    }

    fn guest(&self, address: IpAddr) -> Arc<Guest> {
        let address = address.to_canonical();
        if address.is_loopback() && !self.limit_loopback {
            return self.unlimited.clone();
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network(address);
        if let Some(guest) = known.get(&network).and_then(Weak::upgrade) {
            return guest;
        }
        if known.len() > 2 * CONNECTIONS_MAX {
            known.retain(|_, guest| guest.strong_count() > 0);
        }
        let guest = Guest::new(ADDRESS_CONNECTIONS_MAX, ADDRESS_KIBIBYTES_MAX);
        known.insert(network, Arc::downgrade(&guest));
        guest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let guests = Guests::new(true);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut places: Vec<_> =
            (0..ADDRESS_CONNECTIONS_MAX).map(|_| guests.enter(one).unwrap()).collect();
        assert!(guests.enter(one).is_none());
        assert!(guests.enter(other).is_some(), "another address has its own");
        places.pop();
        assert!(guests.enter(one).is_some());
    }

    #[test]
    fn this_machine_is_limited_only_when_asked_for() {
        let here = "127.0.0.1".parse().unwrap();
        let count = 2 * ADDRESS_CONNECTIONS_MAX;
        let placed = |guests: Guests| {
            let places: Vec<_> = (0..count).filter_map(|_| guests.enter(here)).collect();
            places.len()
        };
        assert_eq!(placed(Guests::new(false)), count);
        assert_eq!(placed(Guests::new(true)), ADDRESS_CONNECTIONS_MAX);
    }
}
