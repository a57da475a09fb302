//! How often a failing disk is spoken of: once per interval, and once when it is over.

use crate::model::Moment;
use std::time::Duration;

/// A disk that stays full is reported this often (Serf's `snapshotErrorRecoveryInterval`).
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(30);

/// What has been said of a failing disk.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    reported: Option<Moment>,
    /// The last report still stands: nobody has said that it is over.
    stands: bool,
}

impl Trouble {
    /// It failed. Says whether that is to be reported.
    pub(crate) fn begins(&mut self, now: Moment) -> bool {
        let due = self.reported.is_none_or(|last| now.since(last) >= REPORT_INTERVAL);
        if due {
            self.reported = Some(now);
            self.stands = true;
        }
        due
    }

    /// It works. Says whether that is to be reported: if the failure was.
    pub(crate) fn ends(&mut self) -> bool {
        std::mem::take(&mut self.stands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_reported_once_per_interval_and_once_when_over() {
        let at = |seconds| Moment::from_start(Duration::from_secs(seconds));
        let mut trouble = Trouble::default();
        assert!(!trouble.ends(), "there was none");
        let reported: Vec<u64> = (0..70).filter(|second| trouble.begins(at(*second))).collect();
        assert_eq!(reported, [0, 30, 60]);
        assert!(trouble.ends() && !trouble.ends());
        // A disk that comes and goes is no reason to fill the log.
        assert!(!trouble.begins(at(75)) && !trouble.ends());
        assert!(trouble.begins(at(90)) && trouble.ends());
    }
}
