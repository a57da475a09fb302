//! All mixtures of both kinds agree on who is here, stay quiet when nothing happens, and know how far
//! they are from each other.

use super::{KEY, THREE_AND_THREE};
use crate::harness::machine::{AFTERMATH, stalled_since};
use crate::harness::mixed_cluster::{MixedCluster, side_by_side};
use crate::harness::notes::loudly;
use crate::harness::peers::hashicorp_serf;
use crate::harness::{Agent, all_list, serf_ctl, wait_until, within};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn all_mixtures_agree_with_all_settings() {
    let Some(theirs) = hashicorp_serf() else { return };
    let one_of_ours = ["h1", "h2", "h3", "h4", "o1", "h5", "h6", "h7", "h8", "h9"];
    let one_of_theirs = ["o1", "o2", "o3", "o4", "h1", "o5", "o6", "o7", "o8", "o9"];
    let encrypted = format!("-encrypt={KEY}");
    let mut rows: Vec<(&[&str], Vec<&str>)> = Vec::new();
    for names in [&THREE_AND_THREE[..], &one_of_ours, &one_of_theirs] {
        for encryption in [None, Some(encrypted.as_str())] {
            for compression in [None, Some("-disable-compression")] {
                for profile in ["-profile=lan", "-profile=local"] {
                    let flags = [encryption, compression, Some(profile)];
                    rows.push((names, flags.into_iter().flatten().collect()));
                }
            }
        }
    }
    assert_eq!(rows.len(), 24);
    side_by_side(&rows, 4, |(names, flags)| {
        let mut mixed = MixedCluster::start(&theirs, names, flags);
        for agent in mixed.present() {
            let is_encrypted = flags.contains(&encrypted.as_str()).to_string();
            assert_eq!(agent.info("serf", "encrypted"), Ok(is_encrypted), "{}", agent.name());
        }
        mixed.nobody_complains();
    });
}

/// How long a quiet cluster is watched, unless `SERF_TEST_QUIET_SECONDS` says otherwise.
const QUIET: Duration = Duration::from_secs(60);

/// Nobody touches it, and nobody reports or complains of anything. A failure that is reported after
/// the machine did not run the processes proves nothing: then the time begins anew, once.
#[test]
fn a_quiet_cluster_reports_nothing() {
    let Some(theirs) = hashicorp_serf() else { return };
    let seconds = std::env::var("SERF_TEST_QUIET_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("SERF_TEST_QUIET_SECONDS is a number"));
    let quiet = seconds.map_or(QUIET, Duration::from_secs);
    let mut mixed = MixedCluster::start(&theirs, &THREE_AND_THREE, &[]);
    let alive = THREE_AND_THREE.map(|name| (name, "alive"));
    let (mut start, mut last_look) = (Instant::now(), Instant::now());
    let last_start = start + quiet;
    let (mut looks, mut failures) = (0, 0);
    while start.elapsed() < quiet {
        thread::sleep(Duration::from_millis(500));
        looks += 1;
        mixed.nobody_complains();
        let reported = mixed.failures_reported();
        let disagreement = all_list(&mixed.present(), &alive).err();
        if reported > failures || disagreement.is_some() {
            let seen = format!("{} failures are reported; {disagreement:?}", reported - failures);
            let stall = stalled_since(last_look.checked_sub(AFTERMATH).unwrap_or(last_look));
            let Some(stall) = stall else { panic!("after {:?}: {seen}", start.elapsed()) };
            assert!(Instant::now() < last_start, "the machine stood still for {stall:?} again: {seen}");
            loudly(&format!("the machine stood still for {stall:?}; watching anew after: {seen}"));
            start = Instant::now();
        }
        failures = reported;
        last_look = Instant::now();
    }
    loudly(&format!("quiet for {:.0} s, {looks} looks", start.elapsed().as_secs_f64()));
}

/// The milliseconds in `Estimated h1 <-> o1 rtt: 0.420 ms`, if they can be a round trip on loopback,
/// however busy the machine is.
fn estimate(agent: &Agent, program: &Path, pair: [&str; 2]) -> Result<f64, String> {
    let answer = agent.ctl_with(program, &["rtt", pair[0], pair[1]]);
    let number = answer
        .stdout
        .strip_prefix(&format!("Estimated {} <-> {} rtt: ", pair[0], pair[1]))
        .and_then(|rest| rest.strip_suffix(" ms\n"));
    let ms: Option<f64> = number.and_then(|number| number.parse().ok());
    ms.filter(|ms| *ms > 0.0 && *ms < 1000.0).ok_or_else(|| answer.to_string())
}

#[test]
fn round_trips_between_kinds_are_estimated_by_both() {
    let Some(theirs) = hashicorp_serf() else { return };
    let mixed = MixedCluster::start(&theirs, &["h1", "o1", "h2", "o2"], &["-profile=local"]);
    for at in ["h1", "o1"] {
        for program in [&theirs, &serf_ctl()] {
            for pair in [["h1", "o1"], ["o1", "h1"], ["h2", "o2"], ["o1", "o2"], ["h1", "h2"]] {
                wait_until(within(60), &format!("{at} estimates {pair:?}"), || {
                    estimate(mixed.of(at), program, pair)
                });
            }
        }
    }
    for ours in ["o1", "o2"] {
        // No coordinate of theirs was one that could not be.
        assert_eq!(mixed.of(ours).info("serf", "coordinate_resets").as_deref(), Ok("0"));
    }
}
