//! Routes: whose mail goes which way.

use control::{Pattern, RouteTable};
use mail::Address;

use crate::Work;

const ROUTES: usize = 10_000;
const LOOK_UPS: usize = 100;

/// Looks addresses up, each of which has a route.
pub(crate) fn look_up() -> Work {
    let pattern = |number: usize| match number % 3 {
        0 => format!("d{number}.example"),
        1 => format!("*.d{number}.example"),
        _ => format!("user@d{number}.example"),
    };
    let patterns: Vec<Pattern> =
        (0..ROUTES).map(|number| pattern(number).parse().expect("a pattern")).collect();
    let table = RouteTable::new(&patterns);
    let addresses: Vec<Address> = (0..LOOK_UPS)
        .map(|number| number * 97 % ROUTES)
        .map(|number| match number % 3 {
            1 => format!("user@a.b.d{number}.example"),
            _ => format!("user@d{number}.example"),
        })
        .map(|text| Address::parse(text, false).expect("an address"))
        .collect();
    Box::new(move || {
        addresses.iter().filter(|address| table.find(address).is_some()).count() as u64
    })
}
