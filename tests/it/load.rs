//! Many clients at once.

use std::time::Duration;

use crate::common::load::{self, Load};

#[test]
fn a_hundred_clients_at_once_are_served_or_told_to_wait() {
    let (_scratch, serving, keys) = load::served(None);
    let lasts = Duration::from_secs(10);
    let figures = load::run(&serving, &keys, &Load { clients: 100, lasts, look_every: Duration::from_secs(5) });
    assert_eq!(figures.undocumented, Vec::<String>::new());
    assert_eq!(figures.broken, Vec::<String>::new());
    assert_eq!(figures.count(|status| status >= 500), 0);
    for kind in ["search", "quote", "upload"] {
        assert!(!figures.kinds[kind].ms.is_empty(), "no {kind} went through");
    }
    serving.get_unknown("/healthz").expect(200);
    assert!(serving.stop());
}
