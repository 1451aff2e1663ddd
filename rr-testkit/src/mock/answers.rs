//! Answers of an expectation, in their order.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Error, Request, Response};

pub(super) type Reply = Arc<dyn Fn(&Request) -> Result<Response, Error> + Send + Sync>;

/// One answer.
#[derive(Clone)]
pub(super) enum Answer {
    Reply(Reply),
    Fail(Error),
    Hang,
}

/// Answer, after a delay, to a number of requests.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) answer: Answer,
    pub(super) delay: Duration,
    pub(super) lasts: Lasts,
}

/// Number of requests that get an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// One if it is one of several answers, all if it is the only one.
    Unstated,
    Times(usize),
    Forever,
}

/// Returns the answer to a request, by the number of requests before it; `None` after the last.
pub(super) fn pick(steps: &[Step], mut before: usize) -> Option<&Step> {
    for step in steps {
        let times = match step.lasts {
            Lasts::Forever => return Some(step),
            Lasts::Unstated if steps.len() == 1 => return Some(step),
            Lasts::Unstated => 1,
            Lasts::Times(times) => times,
        };
        if before < times {
            return Some(step);
        }
        before -= times;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(lasts: &[Lasts]) -> Vec<Option<u64>> {
        let step = |(at, lasts): (usize, &Lasts)| Step {
            answer: Answer::Hang,
            delay: Duration::from_secs(at as u64),
            lasts: *lasts,
        };
        let steps: Vec<_> = lasts.iter().enumerate().map(step).collect();
        (0..4).map(|before| pick(&steps, before).map(|step| step.delay.as_secs())).collect()
    }

    #[test]
    fn answers_follow_each_other_and_a_single_one_repeats() {
        use Lasts::{Forever, Times, Unstated};
        assert_eq!(picked(&[Unstated]), [Some(0); 4]);
        assert_eq!(picked(&[Unstated, Unstated]), [Some(0), Some(1), None, None]);
        assert_eq!(picked(&[Times(2), Unstated]), [Some(0), Some(0), Some(1), None]);
        assert_eq!(picked(&[Unstated, Forever]), [Some(0), Some(1), Some(1), Some(1)]);
        assert_eq!(picked(&[Times(1)]), [Some(0), None, None, None]);
        assert_eq!(picked(&[Times(0), Unstated]), [Some(1), None, None, None]);
        assert_eq!(picked(&[]), [None; 4]);
    }
}
