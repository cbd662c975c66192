//! A cluster's limits on one worker: how much of each resource is in use, and whether there is room.

use meltemi_config::ClusterLimits;

/// What a cluster has a limited number of, per worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Connections to its endpoints.
    Connection,
    /// Requests that wait for a connection.
    Pending,
    /// Requests in flight.
    Request,
}

/// How much of a cluster's resources is in use on one worker.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    limits: ClusterLimits,
    connections: usize,
    pending: usize,
    requests: usize,
}

impl Breaker {
    /// Nothing in use.
    pub fn new(limits: ClusterLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes one if there is room. Whoever gets `true` owes a [`Breaker::release`].
    #[must_use = "what was taken must be released"]
    pub const fn try_acquire(&mut self, resource: Resource) -> bool {
        let limit = self.limit(resource);
        let used = self.place(resource);
        let room = *used < limit;
        if room {
            *used += 1;
        }
        room
    }

    /// Gives one back.
    pub const fn release(&mut self, resource: Resource) {
        let used = self.place(resource);
        debug_assert!(*used > 0, "released more than was taken");
        *used = used.saturating_sub(1);
    }

    /// How many are in use.
    pub const fn in_use(&self, resource: Resource) -> usize {
        match resource {
            Resource::Connection => self.connections,
            Resource::Pending => self.pending,
            Resource::Request => self.requests,
        }
    }

    /// The most that may be in use.
    pub const fn limit(&self, resource: Resource) -> usize {
        match resource {
            Resource::Connection => self.limits.connections,
            Resource::Pending => self.limits.pending,
            Resource::Request => self.limits.requests,
        }
    }

    /// New limits, from a new configuration. What is in use over a lower limit stays until it is
    /// released.
    pub const fn set_limits(&mut self, limits: ClusterLimits) {
        self.limits = limits;
    }

    const fn place(&mut self, resource: Resource) -> &mut usize {
        match resource {
            Resource::Connection => &mut self.connections,
            Resource::Pending => &mut self.pending,
            Resource::Request => &mut self.requests,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_has_its_own_limit() {
        let limits = ClusterLimits {
            connections: 2,
            pending: 0,
            ..ClusterLimits::default()
        };
        let mut breaker = Breaker::new(limits);
        assert!(breaker.try_acquire(Resource::Connection));
        assert!(breaker.try_acquire(Resource::Connection));
        assert!(!breaker.try_acquire(Resource::Connection));
        assert!(!breaker.try_acquire(Resource::Pending));
        assert!(breaker.try_acquire(Resource::Request));
        assert_eq!(breaker.in_use(Resource::Connection), 2);
        breaker.release(Resource::Connection);
        assert!(breaker.try_acquire(Resource::Connection));
    }

    #[test]
    fn a_lower_limit_waits_for_releases() {
        let mut breaker = Breaker::new(ClusterLimits::default());
        assert!(breaker.try_acquire(Resource::Request));
        assert!(breaker.try_acquire(Resource::Request));
        breaker.set_limits(ClusterLimits {
            requests: 1,
            ..ClusterLimits::default()
        });
        breaker.release(Resource::Request);
        assert!(!breaker.try_acquire(Resource::Request));
        breaker.release(Resource::Request);
        assert!(breaker.try_acquire(Resource::Request));
    }
}
