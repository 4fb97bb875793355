//! How much of an account was used when a call began, in the call's ticket.

use fairkey_core::Ticket;

use super::learner::{CALLS, REQUESTS, TOKENS};

/// What a ticket remembers of the moment in which a call began: how much of the account was used,
/// rounded down and cut off where there are no more bits.
#[inline]
pub(super) fn ticket_of(levels: [u64; 3]) -> Ticket {
    let requests = levels[REQUESTS].min((1 << 20) - 1);
    let calls = levels[CALLS].min((1 << 16) - 1);
    let tokens = (levels[TOKENS] >> 8).min((1 << 28) - 1);
    Ticket(tokens << 36 | calls << 20 | requests)
}

/// Returns what a ticket remembers: requests, tokens, and calls at a time.
#[inline]
pub(super) fn levels_of(Ticket(bits): Ticket) -> [u64; 3] {
    let mut levels = [0; 3];
    levels[REQUESTS] = bits & ((1 << 20) - 1);
    levels[CALLS] = bits >> 20 & ((1 << 16) - 1);
    levels[TOKENS] = bits >> 36 << 8;
    levels
}
