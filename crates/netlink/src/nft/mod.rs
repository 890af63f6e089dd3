//! nftables over nfnetlink: tables, chains, sets, rules and set elements in one atomic transaction.
//!
//! Names and numbers are those of `uapi/linux/netfilter/nf_tables.h`; integers travel in network byte order. A rule is a
//! list of [`Expression`]s over the kernel's registers. Nothing here knows what a rule is for.

mod element;
mod expression;
mod list;
mod transaction;

pub use element::{Element, Key};
pub use expression::{Comparison, CtKey, Expression, Meta, NatFamily, Payload, Verdict};
pub use list::{ChainFacts, base_chains};
pub use transaction::{BaseChain, Hook, SetKind, SetSpec, Table, Transaction};
