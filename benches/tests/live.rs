//! Growth of the live heap over several batches of calls.

/// Returns by how much the least of the last third of the batches is above the least of the first third.
///
/// A leak adds to every batch. A table that doubles once, or calls that are still ending when the heap is read,
/// add to some; the least leaves those out.
pub fn grown(live: &[i64]) -> i64 {
    let third = live.len() / 3;
    let least = |part: &[i64]| part.iter().copied().min().expect("there are batches");
    least(&live[live.len() - third..]) - least(&live[..third])
}
