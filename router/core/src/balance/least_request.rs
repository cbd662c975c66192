//! The power of two choices: draws two endpoints at random and picks the less loaded one.

use super::pool::Pool;

/// Draws two different usable endpoints by weight, and picks the one with fewer requests in flight
/// per weight. On a tie it picks the first one.
///
/// An idle cluster is therefore used in proportion to the weights, and under load the requests in
/// flight are in proportion to the weights. (A comparison of `load + 1` per weight would send every
/// request of an idle cluster to the heavier of the two.)
pub(super) fn pick(
    pool: &Pool,
    random: &mut dyn FnMut() -> u64,
    load: &dyn Fn(usize) -> u32,
    usable: &dyn Fn(usize) -> bool,
) -> Option<usize> {
    let first = pool.draw(random, usable)?;
    if pool.len() < 2 || load(first) == 0 {
        return Some(first);
    }
    let Some(second) = pool.draw(random, &|at| at != first && usable(at)) else {
        return Some(first);
    };
    // Cross-multiplied: load(second) / weight(second) < load(first) / weight(first).
    let cost = |load: u32, other: usize| u64::from(load) * u64::from(pool.weight(other));
    let better = cost(load(second), first) < cost(load(first), second);
    Some(if better { second } else { first })
}
