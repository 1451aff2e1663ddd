//! Which cells are measured.

use std::time::Duration;

use rr_benches_peers::{Family, Peer, Runs};

use crate::cell::Place;
use crate::contenders;
use crate::gates::{BODIES, BUDGETS, Budget, CONCURRENCY, RATIOS, Ratio, Subject};
use crate::options::{Extent, Options};

/// Rounds of a cell that a gate is judged by.
const GATE_ROUNDS: usize = 9;

/// Rounds of every other cell.
const OTHER_ROUNDS: usize = 3;

/// Peers that run beside each other under the same load.
pub(crate) struct Group {
    pub(crate) family: Family,
    pub(crate) place: Place,
    pub(crate) peers: Vec<&'static str>,
    pub(crate) rounds: usize,
    pub(crate) span: Duration,
}

/// Everything to measure.
pub(crate) struct Plan {
    pub(crate) groups: Vec<Group>,
    /// Peers whose allocations are counted, and where.
    pub(crate) counts: Vec<(&'static str, Place)>,
    /// URLs over which calls are held, and how many.
    pub(crate) held: Vec<(&'static str, usize)>,
    pub(crate) layers: bool,
}

impl Plan {
    pub(crate) fn new(options: &Options) -> Self {
        let all = contenders::all();
        let wanted: Vec<&Peer> = all.iter().filter(|peer| is_wanted(options, peer)).collect();
        let groups = places(options.extent)
            .into_iter()
            .flat_map(|place| Family::ALL.map(|family| group(options, &wanted, family, place)));
        let of_budgets = || budgets(options).map(|budget| budget.subject);
        Self {
            groups: groups.filter(|group| !group.peers.is_empty()).collect(),
            counts: counts(options, &wanted),
            held: of_budgets()
                .filter_map(|subject| {
                    if let Subject::Held(url, calls) = subject { Some((url, calls)) } else { None }
                })
                .collect(),
            layers: of_budgets()
                .any(|subject| !matches!(subject, Subject::Held(..) | Subject::Allocations(_))),
        }
    }
}

/// The ratios that are judged.
pub(crate) fn ratios(options: &Options) -> impl Iterator<Item = &'static Ratio> {
    RATIOS.iter().filter(|ratio| options.wants(&ratio.label()))
}

/// The budgets that are judged.
pub(crate) fn budgets(options: &Options) -> impl Iterator<Item = &'static Budget> {
    BUDGETS.iter().filter(|budget| options.wants(budget.label))
}

/// Whether a ratio is judged here.
pub(crate) fn is_judged(place: &Place) -> bool {
    place.concurrency == CONCURRENCY && BODIES.contains(&place.body_bytes)
}

/// What a gate needs, and in full what the pattern names.
fn is_wanted(options: &Options, peer: &Peer) -> bool {
    is_gated(options, peer.name)
        || options.extent == Extent::Full
            && (options.wants(peer.name) || options.wants(peer.family.title()))
}

fn is_gated(options: &Options, peer: &str) -> bool {
    ratios(options).any(|ratio| ratio.ours == peer || ratio.theirs == peer)
}

fn places(extent: Extent) -> Vec<Place> {
    let (bodies, concurrencies) = match extent {
        Extent::Quick => (&BODIES[..], &[CONCURRENCY][..]),
        Extent::Full => (&[16, 1024, 64 * 1024][..], &[1, CONCURRENCY, 256][..]),
    };
    let mut places = Vec::new();
    for split in [false, true] {
        for &concurrency in concurrencies {
            let place = |&body_bytes| Place { body_bytes, concurrency, split };
            places.extend(bodies.iter().map(place));
        }
    }
    places
}

fn group(options: &Options, peers: &[&Peer], family: Family, place: Place) -> Group {
    let there = |peer: &&&Peer| peer.family == family && (peer.splits() || !place.split);
    let peers: Vec<_> = peers.iter().filter(there).map(|peer| peer.name).collect();
    let judged = is_judged(&place) && peers.iter().any(|peer| is_gated(options, peer));
    let (rounds, span) = if judged {
        (GATE_ROUNDS, options.gate_span())
    } else {
        (OTHER_ROUNDS, options.other_span())
    };
    Group { family, place, peers, rounds, span }
}

/// In full every peer, else those with a budget; one at a time and where ratios are judged.
fn counts(options: &Options, wanted: &[&Peer]) -> Vec<(&'static str, Place)> {
    let at = |body_bytes, concurrency| Place { body_bytes, concurrency, split: false };
    let all = contenders::all();
    let budgeted = all.iter().filter(|peer| {
        budgets(options).any(|budget| budget.subject == Subject::Allocations(peer.name))
    });
    let (mut names, mut places) =
        (budgeted.map(|peer| peer.name).collect::<Vec<_>>(), vec![at(16, 1), at(16, CONCURRENCY)]);
    if options.extent == Extent::Full {
        places.push(at(64 * 1024, CONCURRENCY));
        for peer in wanted {
            // A program of its own cannot be looked into.
            if !names.contains(&peer.name) && !matches!(peer.runs, Runs::Elsewhere) {
                names.push(peer.name);
            }
        }
    }
    names.iter().flat_map(|&name| places.iter().map(move |&place| (name, place))).collect()
}
