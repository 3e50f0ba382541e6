//! How often one address and one principal may ask.
//!
//! Each falls into one of [`RATE_BUCKETS`] buckets by a hash under a key that only this process
//! knows, so that memory is bounded by construction and nobody can choose whose bucket to empty.
//! Two that share a bucket share its rate, which a log with thousands of clients hardly notices.
//!
//! An address of IPv6 counts as its /64 network: that is what one client is given. Addresses of
//! this machine are not counted unless it is asked for: it is the operator, or a proxy that stands
//! for everybody.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::limits::{BURST_SECONDS, RATE_BUCKETS};

/// How much is allowed, per second; 0 for no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RateSettings {
    /// Reads from one address.
    pub address_reads: u32,
    /// Submissions from one address.
    pub address_writes: u32,
    /// Submissions of one principal.
    pub principal_writes: u32,
    /// Whether addresses of this machine count.
    pub limit_loopback: bool,
}

/// A request too many: how long to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooOften(pub Duration);

/// The rates of everybody. Shared by all connections.
pub struct Rates {
    address_reads: Option<Buckets>,
    address_writes: Option<Buckets>,
    principal_writes: Option<Buckets>,
    limit_loopback: bool,
}

impl Rates {
    /// Nobody has asked yet.
    pub fn new(settings: RateSettings) -> Self {
        Self {
            address_reads: Buckets::new(settings.address_reads),
            address_writes: Buckets::new(settings.address_writes),
            principal_writes: Buckets::new(settings.principal_writes),
            limit_loopback: settings.limit_loopback,
        }
    }

    /// Whether addresses of this machine count.
    pub fn limit_loopback(&self) -> bool {
        self.limit_loopback
    }

    /// Counts a read from `address`.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn read(&self, address: IpAddr) -> Result<(), TooOften> {
        self.address(self.address_reads.as_ref(), address, 1)
    }

    /// Counts work for `address` that is worth `count` reads, beside the one that it came with.
    ///
    /// What is worth more than may ever come at once counts as all of that: it is allowed when
    /// nothing else came for a while.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn reads(&self, address: IpAddr, count: u32) -> Result<(), TooOften> {
        self.address(self.address_reads.as_ref(), address, count)
    }

    /// Counts a submission from `address`.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn write(&self, address: IpAddr) -> Result<(), TooOften> {
        self.address(self.address_writes.as_ref(), address, 1)
    }

    /// Counts a submission of the principal with this name.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn principal(&self, name: &str) -> Result<(), TooOften> {
        self.principal_writes.as_ref().map_or(Ok(()), |buckets| buckets.take(name, 1))
    }

    fn address(
        &self,
        buckets: Option<&Buckets>,
        address: IpAddr,
        count: u32,
    ) -> Result<(), TooOften> {
        let Some(buckets) = buckets else { return Ok(()) };
        let address = address.to_canonical();
        if address.is_loopback() && !self.limit_loopback {
            return Ok(());
        }
        buckets.take(&network(address), count)
    }
}

/// One token bucket for each of a bounded number of keys.
struct Buckets {
    limiter: RateLimiter<u16, DashMapStateStore<u16>, DefaultClock>,
    clock: DefaultClock,
    hasher: RandomState,
    burst: NonZeroU32,
}

const _: () = assert!(RATE_BUCKETS == 1 << u16::BITS, "a bucket's number is the key of its state");

impl Buckets {
    /// `None` for no limit.
    fn new(per_second: u32) -> Option<Self> {
        let rate = NonZeroU32::new(per_second)?;
        let burst = rate.saturating_mul(NonZeroU32::new(BURST_SECONDS)?);
        let limiter = RateLimiter::dashmap(Quota::per_second(rate).allow_burst(burst));
        Some(Self { limiter, clock: DefaultClock::default(), hasher: RandomState::new(), burst })
    }

    fn take(&self, key: &(impl Hash + ?Sized), count: u32) -> Result<(), TooOften> {
        // One less than all: the request itself was counted a moment ago.
        let most = self.burst.get().saturating_sub(1).max(1);
        let Some(count) = NonZeroU32::new(count.min(most)) else { return Ok(()) };
        let bucket = (self.hasher.hash_one(key) & u64::from(u16::MAX)) as u16;
        match self.limiter.check_key_n(&bucket, count) {
            Ok(taken) => taken.map_err(|denied| TooOften(denied.wait_time_from(self.clock.now()))),
            Err(_) => unreachable!("no count is above the burst"),
        }
    }
}

/// See [`network`].
pub(super) type Network = [u8; 8];

/// The network that one client has: the address itself, or the upper half of one of IPv6.
pub(super) fn network(address: IpAddr) -> Network {
    match address {
        IpAddr::V4(address) => {
            let mut network = [0; 8];
            network[..4].copy_from_slice(&address.octets());
            network
        }
        IpAddr::V6(address) => ((address.to_bits() >> 64) as u64).to_be_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(limit_loopback: bool) -> RateSettings {
        RateSettings { address_reads: 0, address_writes: 1, principal_writes: 1, limit_loopback }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of 100 submissions at once pass.
    fn passed(rates: &Rates, address: IpAddr) -> usize {
        (0..100).filter(|_| rates.write(address).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_and_what_follows_is_told_how_long_to_wait() {
        let rates = Rates::new(settings(false));
        let burst = BURST_SECONDS as usize;
        // A test that is stopped for seconds in between lets a few more pass, never fewer.
        assert!(passed(&rates, address("192.0.2.1")) >= burst);
        let TooOften(wait) = rates.write(address("192.0.2.1")).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert!(rates.write(address("192.0.2.2")).is_ok(), "another address has its own rate");
        assert!(rates.read(address("192.0.2.1")).is_ok(), "0 is no limit");
    }

    #[test]
    fn work_counts_as_many_reads_and_is_never_too_much_for_a_whole_burst() {
        let rates = Rates::new(RateSettings { address_reads: 1, ..settings(false) });
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        // As a request that brings such work: itself, and what it is worth.
        assert!(rates.read(one).is_ok() && rates.reads(one, 1_000_000).is_ok());
        let denied = (0..100).find_map(|_| rates.reads(one, 5).err());
        let TooOften(wait) = denied.expect("a hundred times five reads are too many");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(5), "{wait:?}");
        assert!(rates.reads(one, 0).is_ok(), "nothing is worth nothing");
        let passed = (0..100).filter(|_| rates.reads(other, 5).is_ok()).count();
        assert!((BURST_SECONDS as usize / 5..100).contains(&passed), "{passed}");
        assert!(Rates::new(settings(false)).reads(one, 1_000_000).is_ok(), "0 is no limit");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let rates = Rates::new(settings(false));
        passed(&rates, address("2001:db8::1"));
        assert!(rates.write(address("2001:db8::2")).is_err());
        assert!(rates.write(address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn this_machine_counts_only_when_asked_for() {
        assert_eq!(passed(&Rates::new(settings(false)), address("127.0.0.1")), 100);
        assert_eq!(passed(&Rates::new(settings(false)), address("::ffff:127.0.0.1")), 100);
        assert!(passed(&Rates::new(settings(true)), address("127.0.0.1")) < 100);
    }

    #[test]
    fn principals_are_counted_by_name() {
        let rates = Rates::new(settings(false));
        let passed = (0..100).filter(|_| rates.principal("ci").is_ok()).count();
        assert!((BURST_SECONDS as usize..100).contains(&passed));
        assert!(rates.principal("other").is_ok());
    }
}
