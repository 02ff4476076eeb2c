//! How slowly a body may arrive.

use std::time::Duration;

/// The least speed at which a body must arrive, and the longest that it may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The longest time for a whole body, however fast it comes.
    pub total: Duration,
    /// The time in which no speed is asked for, for the connection to get going.
    pub grace: Duration,
    /// The least average speed after the grace, in bytes per second; 0 asks for none.
    pub bytes_per_second_min: u64,
}

impl Pace {
    /// How long after its start a body of which `received` bytes have come may still be waited for.
    pub fn deadline(&self, received: usize) -> Duration {
        if self.bytes_per_second_min == 0 {
            return self.total;
        }
        let millis = (received as u64).saturating_mul(1000) / self.bytes_per_second_min;
        self.total.min(self.grace.saturating_add(Duration::from_millis(millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_buys_time_up_to_the_total() {
        let pace = Pace {
            total: Duration::from_secs(60),
            grace: Duration::from_secs(5),
            bytes_per_second_min: 1024,
        };
        assert_eq!(pace.deadline(0), Duration::from_secs(5));
        assert_eq!(pace.deadline(10 * 1024), Duration::from_secs(15));
        assert_eq!(pace.deadline(usize::MAX), Duration::from_secs(60));
        let unhurried = Pace { bytes_per_second_min: 0, ..pace };
        assert_eq!(unhurried.deadline(0), Duration::from_secs(60));
    }
}
