//! The gate that an HTTP endpoint answers as it should, fast enough and with few enough errors.

use std::time::Duration;

use serde_json::Value;

use crate::host::{HttpAnswer, HttpRequest, Probe, ProbeError};
use crate::model::Verdict;
use crate::model::gate::{ErrorRate, GateClass, HttpGate};

use super::json::{field, same, shown};
use super::look::{Seen, inconclusive};

/// Asks once, and judges the answer.
pub(super) fn look(host: &dyn Probe, gate: &HttpGate) -> Seen {
    match host.http(&request(gate)) {
        Ok(answer) => judge(gate, &answer),
        Err(error) => unanswered(&error),
    }
}

/// Asks as often as response times have to be known, and judges them.
pub(super) fn look_at_times(
    host: &dyn Probe,
    gate: &HttpGate,
    cancelled: &dyn Fn() -> bool,
) -> Option<Seen> {
    let (at_most, samples) = gate.p95?;
    let mut times = Vec::new();
    for _ in 0..samples {
        if cancelled() {
            break;
        }
        match host.http(&request(gate)) {
            Ok(answer) => times.push(answer.elapsed),
            Err(error) => return Some(unanswered(&error)),
        }
    }
    if times.is_empty() || times.len() < samples as usize {
        let detail = format!("too few response times: {} of {samples}", times.len());
        return Some(inconclusive(GateClass::Performance, detail));
    }
    let p95 = percentile(&mut times);
    let seen = format!("p95 is {} ms over {samples} requests", milliseconds(p95));
    Some(if p95 > Duration::from_millis(at_most) {
        let detail = format!("{seen}, expected at most {at_most} ms");
        Seen::new(GateClass::Performance, Verdict::Failed, detail)
    } else {
        Seen::new(GateClass::Health, Verdict::Passed, seen)
    })
}

fn request(gate: &HttpGate) -> HttpRequest {
    HttpRequest {
        url: gate.url.clone(),
        timeout: Duration::from_millis(gate.timeout),
    }
}

fn unanswered(error: &ProbeError) -> Seen {
    let class = match error {
        ProbeError::Unable(_) => return inconclusive(GateClass::Health, error.to_string()),
        ProbeError::Connection(_) => GateClass::Connection,
        ProbeError::Answer(_) => GateClass::Health,
    };
    Seen::new(class, Verdict::Failed, error.to_string())
}

fn judge(gate: &HttpGate, answer: &HttpAnswer) -> Seen {
    let mut wrong = Vec::new();
    if answer.status != gate.status {
        wrong.push(format!(
            "the status is {}, expected {}",
            answer.status, gate.status
        ));
    }
    let asks_for_fields = !gate.json.is_empty() || gate.error_rate.is_some();
    let body = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(body) => body,
        Err(_) if !asks_for_fields => Value::Null,
        Err(error) => {
            // The body itself isn't shown: nobody knows what is in it.
            wrong.push(format!("the answer is no JSON: {error}"));
            return Seen::new(GateClass::Health, Verdict::Failed, wrong.join("; "));
        }
    };
    for (path, expected) in &gate.json {
        let seen = field(&body, path);
        if !seen.is_some_and(|seen| same(seen, expected)) {
            let (seen, expected) = (shown(seen), shown(Some(expected)));
            wrong.push(format!("{path} is {seen}, expected {expected}"));
        }
    }
    if !wrong.is_empty() {
        return Seen::new(GateClass::Health, Verdict::Failed, wrong.join("; "));
    }
    match &gate.error_rate {
        Some(rate) => judge_rate(rate, &body),
        None => {
            let detail = format!("the status is {}", answer.status);
            Seen::new(GateClass::Health, Verdict::Passed, detail)
        }
    }
}

fn judge_rate(rate: &ErrorRate, body: &Value) -> Seen {
    let count = |path: &String| {
        let seen = field(body, path);
        let number = seen.and_then(Value::as_f64).filter(|number| *number >= 0.0);
        number.ok_or_else(|| {
            let detail = format!("{path} is {}, expected a number", shown(seen));
            Seen::new(GateClass::Health, Verdict::Failed, detail)
        })
    };
    let (errors, of) = match (count(&rate.errors), count(&rate.of)) {
        (Ok(errors), Ok(of)) => (errors, of),
        (Err(seen), _) | (_, Err(seen)) => return seen,
    };
    if of == 0.0 {
        let detail = format!("{} is 0, so there is no error rate yet", rate.of);
        return inconclusive(GateClass::Performance, detail);
    }
    let at_most = rate.per_million as f64;
    let seen = format!(
        "the error rate is {} ({errors} of {of})",
        percent(errors / of * 1e6)
    );
    if errors / of * 1e6 > at_most {
        let detail = format!("{seen}, expected at most {}", percent(at_most));
        return Seen::new(GateClass::Performance, Verdict::Failed, detail);
    }
    Seen::new(GateClass::Health, Verdict::Passed, seen)
}

/// The time that 95 of 100 requests don't exceed, by the nearest rank.
fn percentile(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    let rank = (times.len() * 95).div_ceil(100).max(1);
    times[rank - 1]
}

/// In a million, as per cent.
fn percent(per_million: f64) -> String {
    let text = format!("{:.2}", per_million / 1e4);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

/// Rounded up, so that a time above a bound never looks like the bound.
fn milliseconds(time: Duration) -> u128 {
    time.as_micros().div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_a_time_that_was_seen() {
        let mut times: Vec<Duration> = (1..=20).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut times), Duration::from_millis(19));
        assert_eq!(percentile(&mut times[..1]), Duration::from_millis(1));
        assert_eq!(percentile(&mut times[..10]), Duration::from_millis(10));
    }

    #[test]
    fn shares_are_short() {
        assert_eq!(percent(10_000.0), "1 %");
        assert_eq!(percent(12_345.0), "1.23 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(milliseconds(Duration::from_micros(500_001)), 501);
    }
}
