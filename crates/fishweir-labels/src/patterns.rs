//! What kind of attack it was: tags with a strength from 0 to 1, each from counts that are shown.

use crate::raw::{ClientSums, Look, RouteSums};

/// Answered requests from which on their time says something.
const COST_SEEN: f64 = 4.0;
/// Share of answers after half a minute from which on connections are held, whatever was asked.
const HELD: (f64, f64) = (0.6, 0.85);
/// Share of all that no defence stopped: a service that turns nearly everybody away at once is held by nobody.
const HELD_OF_ALL: (f64, f64) = (0.1, 0.3);
/// Tags weaker than this are left out.
const LEAST: f64 = 0.3;

/// A tag with its strength and what it was read from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    pub(crate) name: &'static str,
    pub(crate) strength: f64,
    pub(crate) detail: String,
}

fn ramp(value: f64, none: f64, full: f64) -> f64 {
    ((value - none) / (full - none)).clamp(0.0, 1.0)
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

// What the surge brought beside the strangers that come anyway: visitors have addresses and agents, too.
fn beyond_usual(look: &Look) -> ClientSums {
    let (o, b) = (&look.odd, &look.odd_before);
    let net = |f: fn(&ClientSums) -> f64| (f(o) - f(b) * look.scale).clamp(0.0, f(o));
    ClientSums {
        requests: net(|c| c.requests),
        clients: net(|c| c.clients),
        ips: net(|c| c.ips),
        answered: net(|c| c.answered),
        slow: net(|c| c.slow),
        stopped: net(|c| c.stopped),
        again: net(|c| c.again),
        again_new_ja3: net(|c| c.again_new_ja3),
        visits_again: net(|c| c.visits_again),
        visits_new_ja3: net(|c| c.visits_new_ja3),
        program_again: net(|c| c.program_again),
        again_new_agent: net(|c| c.again_new_agent),
        paths: net(|c| c.paths),
        usual_pair: net(|c| c.usual_pair),
        home_network: net(|c| c.home_network),
        ..*o
    }
}

// A JA3 is random where one machine shows several with the same program and user agent, or where every visit with a program
// that no member has shows another: such a program has one for each of its versions.
fn ja3_changes(o: &ClientSums, mimicry: f64) -> (f64, String) {
    let changed = share(o.again_new_ja3, o.again);
    let machine = ramp(changed, 0.3, 0.7) * ramp(o.again, 5.0, 15.0);
    let fresh = share(o.visits_new_ja3, o.visits_again);
    // Some browsers show another at every visit, and a dozen visits may be of as many versions.
    let visits = ramp(fresh, 0.7, 0.95) * ramp(o.visits_again, 15.0, 25.0) * (1.0 - ramp(mimicry, 0.3, 0.6));
    if machine >= visits {
        let n = o.again;
        (machine, format!("another JA3 in {:.0} % of {n:.0} further requests of a machine", changed * 100.0))
    } else {
        let n = o.visits_again;
        (visits, format!("another JA3 in {:.0} % of {n:.0} further visits with a program", fresh * 100.0))
    }
}

/// Returns the tags of an attack, the strongest first; `minutes` is its excess per minute in order.
pub(crate) fn patterns(look: &Look, minutes: &[f64]) -> Vec<Pattern> {
    let o = &beyond_usual(look);
    if o.requests < 1.0 {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut tag = |name, strength: f64, detail: String| {
        if strength >= LEAST && strength.is_finite() {
            out.push(Pattern { name, strength, detail });
        }
    };
    let pool = address_pool(look);
    let per_ip = o.requests / pool.max(1.0);
    tag(
        "ip_randomisation",
        // A dozen requests come from as many addresses without any change of them.
        ramp(pool, 15.0, 60.0) * (1.0 - ramp(per_ip, 8.0, 40.0)) * ramp(o.requests, 25.0, 40.0),
        format!("{per_ip:.1} requests from each of {pool:.0} addresses"),
    );
    let mimicry = share(o.usual_pair, o.requests);
    let (strength, detail) = ja3_changes(o, mimicry);
    tag("ja3_randomisation", strength, detail);
    // Several whole browsers behind one address are no rotation: a tool keeps its fingerprint.
    tag(
        "user_agent_rotation",
        rotation(o) * (1.0 - ramp(mimicry, 0.5, 0.85)),
        format!(
            "{:.1} user agents per address, {:.0} of {:.0} further requests of a program there showed another",
            o.agents_per_ip, o.again_new_agent, o.program_again
        ),
    );
    tag(
        "header_mimicry",
        ramp(mimicry, 0.5, 0.85),
        format!("{:.0} % look like members' clients", mimicry * 100.0),
    );
    tag_routes(look, &mut tag);
    let slow = share(o.slow, o.answered);
    tag("low_and_slow", held(o), format!("{:.0} % of the answers took over half a minute", slow * 100.0));
    let Pulses { bursts, calm, left } = pulses(minutes);
    let even = ramp(calm, 0.15, 0.45) * ramp(dispersion(minutes), 1.5, 3.0);
    // Who only goes faster for a while and slower afterwards is never gone.
    let pulse = if bursts >= 3 { even * (1.0 - ramp(left, 0.15, 0.4)) } else { 0.0 };
    tag(
        "pulse_wave",
        pulse,
        format!("{bursts} bursts, {:.0} % of the minutes calm between them", calm * 100.0),
    );
    out.sort_by(|a, b| b.strength.total_cmp(&a.strength));
    out
}

fn tag_routes(look: &Look, tag: &mut impl FnMut(&'static str, f64, String)) {
    let extra: Vec<(&str, f64)> =
        look.routes.iter().map(|r| (r.route.as_str(), beyond_chance(r, look.scale))).collect();
    let whole: f64 = extra.iter().map(|r| r.1).sum();
    let login: f64 = extra.iter().filter(|r| is_login(r.0)).map(|r| r.1).sum();
    tag(
        "login_flood",
        ramp(share(login, whole), 0.4, 0.8),
        format!("{:.0} % are sign-ins", 100.0 * share(login, whole)),
    );
    // Passwords are tried and the service is kept busy at the same time.
    let less = share(login, whole).min(1.0 - share(login, whole));
    tag(
        "multi_vector",
        ramp(less, 0.05, 0.2),
        format!("{:.0} % try to sign in, the others do not", 100.0 * share(login, whole)),
    );
    let entropy: f64 =
        extra.iter().map(|r| share(r.1, whole)).filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum();
    let spread = entropy.exp();
    let net = beyond_usual(look);
    let distinct = share(net.paths, net.requests);
    tag(
        "carpet",
        ramp(spread, 3.5, 6.0).max(busting(distinct, net.requests) * ramp(spread, 1.2, 1.8)),
        format!("{spread:.1} routes in effect, {:.0} % of the paths asked for once", distinct * 100.0),
    );
    if let Some(cost) = look.cost.filter(|c| c.requests >= COST_SEEN) {
        tag(
            "expensive_calls",
            ramp(cost.ratio, 2.0, 4.0) * (1.0 - held(&net)),
            format!("a request takes {:.1} times what others of its route take", cost.ratio),
        );
    }
}

// How much the agents of a tool change: a machine has one, behind an address with others a few. With a request or two from
// each address their number says little; over all of them that hardly one comes twice does.
fn rotation(o: &ClientSums) -> f64 {
    let changed = share(o.again_new_agent, o.program_again);
    ramp(o.agents_per_ip, 1.1, 2.5).max(ramp(changed, 0.3, 0.7) * ramp(o.program_again, 4.0, 12.0))
}

// How much every request asks for another path, none of them for one that was asked for before.
fn busting(distinct: f64, requests: f64) -> f64 {
    let many = ramp(distinct, 0.5, 0.9) * ramp(requests, 30.0, 100.0);
    // Few requests have paths of their own by chance, but not all of them.
    many.max(ramp(distinct, 0.85, 0.97) * ramp(requests, 15.0, 30.0))
}

fn is_login(route: &str) -> bool {
    ["login", "signin", "sign-in"].iter().any(|w| route.contains(w))
}

/// Whether a route signs clients in.
pub(crate) fn is_sign_in(route: &str) -> bool {
    ["login", "signin", "sign-in", "token", "auth"].iter().any(|w| route.contains(w))
}

/// Whether a route pays, redeems, signs up or changes a password: what nobody does often.
pub(crate) fn is_guarded(route: &str) -> bool {
    const WORDS: [&str; 13] = [
        "payment", "billing", "checkout", "card", "redeem", "gift", "voucher", "coupon", "promo", "signup",
        "sign-up", "register", "password",
    ];
    WORDS.iter().any(|w| route.contains(w))
}

/// How an excess comes and goes.
#[derive(Debug, Default)]
struct Pulses {
    /// Bursts after the first calm.
    bursts: usize,
    /// Share of calm minutes between the first and the last busy one.
    calm: f64,
    /// What a calm minute brings, over what a busy one does.
    left: f64,
}

#[expect(clippy::cast_precision_loss, reason = "minutes")]
fn pulses(minutes: &[f64]) -> Pulses {
    let top = minutes.iter().copied().fold(0.0, f64::max);
    let is_busy = |m: &f64| *m > 0.25 * top;
    let (Some(first), Some(last)) = (minutes.iter().position(is_busy), minutes.iter().rposition(is_busy))
    else {
        return Pulses::default();
    };
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let (busy, calm): (Vec<f64>, Vec<f64>) = minutes[first..=last].iter().copied().partition(is_busy);
    Pulses {
        bursts: minutes.windows(2).filter(|w| !is_busy(&w[0]) && is_busy(&w[1])).count(),
        calm: calm.len() as f64 / (last - first + 1) as f64,
        left: mean(&calm).max(0.0) / mean(&busy).max(1e-9),
    }
}

// What the surge's strangers brought to a route beyond the usual, where that is more than chance.
fn beyond_chance(r: &RouteSums, scale: f64) -> f64 {
    let usual = r.mine0 * scale;
    let extra = r.mine - usual;
    if extra > 2.0 * (usual * (1.0 + scale) + 1.0).sqrt() { extra } else { 0.0 }
}

// How much of the surge held its connections open, 0 to 1.
fn held(o: &ClientSums) -> f64 {
    let of_all = share(o.slow, o.requests - o.stopped);
    ramp(share(o.slow, o.answered), HELD.0, HELD.1) * ramp(of_all, HELD_OF_ALL.0, HELD_OF_ALL.1)
}

// Addresses that the surge draws from, seen or not, if each is as likely: those that would repeat themselves as often (Simpson 1949).
// WHY not their number: in hours of an attack many visitors come, each with an address of its own; they repeat nothing.
// The busiest address counts as one and what it brings beyond the usual not at all: one busy machine beside many says nothing of
// the many.
fn address_pool(look: &Look) -> f64 {
    let (o, b) = (&look.odd, &look.odd_before);
    let squares = |c: &ClientSums| if c.even_ips > 0.0 { c.requests.powi(2) / c.even_ips } else { 0.0 };
    let apart = (o.busiest_ip - b.busiest_ip * look.scale).clamp(0.0, o.busiest_ip);
    let net = o.requests - apart - b.requests * look.scale;
    if net <= 1.0 || o.even_ips <= 0.0 {
        return 0.0;
    }
    let others = squares(o) - o.busiest_ip.powi(2) + (o.busiest_ip - apart).powi(2);
    let own = (others - (o.requests - apart) - (squares(b) - b.requests) * look.scale).max(1.0);
    // Few requests repeat nothing by chance: no more than twice what was seen.
    let beside = f64::from(u8::from(apart > 0.0));
    (net * (net - 1.0) / own + beside).min(2.0 * beyond_usual(look).ips)
}

// Variance of the minutes over their mean: one for requests that come by chance at an even pace.
#[expect(clippy::cast_precision_loss, reason = "minutes")]
fn dispersion(minutes: &[f64]) -> f64 {
    let n = minutes.len().max(1) as f64;
    let mean = minutes.iter().sum::<f64>() / n;
    let variance = minutes.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / n;
    if mean > 0.0 { variance / mean } else { 0.0 }
}

/// Returns where an attack came from: `few_hosts`, `data_centre`, `residential` or `iot`.
pub(crate) fn source_tier(look: &Look) -> Option<&'static str> {
    let o = &beyond_usual(look);
    if o.requests < 1.0 {
        return None;
    }
    Some(if o.ips < 10.0 {
        "few_hosts"
    } else if share(o.home_network, o.requests) < 0.5 {
        "data_centre"
    } else if share(o.usual_pair, o.requests) < 0.3 && o.requests / o.ips > 30.0 {
        "iot"
    } else {
        "residential"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::Cost;

    fn look(odd: ClientSums, routes: &[(&str, f64)]) -> Look {
        Look {
            scale: 1.0,
            odd,
            routes: routes
                .iter()
                .map(|(r, n)| RouteSums {
                    route: (*r).to_owned(),
                    odd: *n,
                    mine: *n,
                    n0: 100.0,
                    ..RouteSums::default()
                })
                .collect(),
            ..Look::default()
        }
    }

    fn names(p: &[Pattern]) -> Vec<&str> {
        p.iter().map(|p| p.name).collect()
    }

    #[test]
    fn tags_follow_what_was_done() {
        let many = ClientSums {
            requests: 1_000.0,
            clients: 500.0,
            ips: 500.0,
            even_ips: 480.0,
            ..ClientSums::default()
        };
        let found = patterns(&look(many, &[("/login", 1_000.0)]), &[10.0; 20]);
        assert_eq!(names(&found), ["ip_randomisation", "login_flood"]);
        let pulse: Vec<f64> = (0..40).map(|m| if m % 4 == 0 { 100.0 } else { 0.0 }).collect();
        let few = ClientSums { requests: 1_000.0, clients: 5.0, ips: 5.0, ..ClientSums::default() };
        assert_eq!(names(&patterns(&look(few, &[("/home", 1_000.0)]), &pulse)), ["pulse_wave"]);
        assert_eq!(source_tier(&look(few, &[])), Some("few_hosts"));
        let dear =
            Look { cost: Some(Cost { requests: 500.0, ratio: 4.0 }), ..look(few, &[("/search", 1_000.0)]) };
        assert_eq!(names(&patterns(&dear, &[1.0])), ["expensive_calls"]);
        let busy =
            Look { cost: Some(Cost { requests: 500.0, ratio: 1.2 }), ..look(few, &[("/search", 1_000.0)]) };
        assert!(patterns(&busy, &[1.0]).is_empty());
        let wide = ["/a", "/b", "/c", "/d", "/e", "/f"].map(|r| (r, 100.0));
        assert!(names(&patterns(&look(few, &wide), &[1.0])).contains(&"carpet"));
        assert!(patterns(&look(ClientSums::default(), &[]), &[]).is_empty());
        // A dozen machines among three hundred visitors with a request each.
        let dozen = ClientSums {
            requests: 600.0,
            clients: 312.0,
            ips: 312.0,
            even_ips: 46.75,
            ..ClientSums::default()
        };
        let visitors = ClientSums {
            requests: 300.0,
            clients: 300.0,
            ips: 300.0,
            even_ips: 300.0,
            ..ClientSums::default()
        };
        let few = Look { odd_before: visitors, ..look(dozen, &[("/home", 600.0)]) };
        assert!((address_pool(&few) - 12.6).abs() < 0.5, "{}", address_pool(&few));
        assert!(!names(&patterns(&few, &[10.0; 20])).contains(&"ip_randomisation"));
    }

    #[test]
    fn one_busy_machine_does_not_hide_that_there_are_many() {
        // 43 addresses with three requests each, and one with 35.
        let with = |busiest_ip: f64| ClientSums {
            requests: 164.0,
            clients: 44.0,
            ips: 44.0,
            even_ips: 164.0_f64.powi(2) / (43.0 * 9.0 + 35.0 * 35.0),
            busiest_ip,
            ..ClientSums::default()
        };
        let pool = address_pool(&look(with(35.0), &[]));
        assert!((pool - 65.0).abs() < 1.0, "{pool}");
        let dozen = ClientSums {
            requests: 1_000.0,
            ips: 12.0,
            even_ips: 12.0,
            busiest_ip: 83.3,
            ..ClientSums::default()
        };
        // A dozen in equal shares are as even as twelve and an eighth by chance, with the busiest apart or not.
        let pool = address_pool(&look(dozen, &[]));
        assert!((pool - 12.13).abs() < 0.05, "{pool}");
    }

    #[test]
    fn who_goes_slower_is_no_pulse() {
        let few = ClientSums { requests: 1_000.0, clients: 5.0, ips: 5.0, ..ClientSums::default() };
        let slow = [12.0, 13.0, 16.0, 14.0];
        let slower: Vec<f64> = (0..300).map(|m| if m < 60 { 60.0 } else { slow[m % 4] }).collect();
        assert!(pulses(&slower).bursts > 20, "{:?}", pulses(&slower));
        assert!(patterns(&look(few, &[("/home", 1_000.0)]), &slower).is_empty());
    }

    #[test]
    fn thirty_requests_of_a_hundred_addresses_show_that_there_are_many() {
        let some =
            ClientSums { requests: 33.0, clients: 28.0, ips: 28.0, even_ips: 25.3, ..ClientSums::default() };
        let found = patterns(&look(some, &[("/home", 33.0)]), &[10.0; 3]);
        assert_eq!(names(&found), ["ip_randomisation"], "{found:?}");
    }

    #[test]
    fn a_machine_that_changes_its_ja3_is_told_from_machines_with_one_each() {
        let each = ClientSums { requests: 60.0, ips: 12.0, again: 48.0, ..ClientSums::default() };
        assert!(patterns(&look(each, &[("/home", 60.0)]), &[]).is_empty());
        let new = ClientSums { again_new_ja3: 40.0, ..each };
        assert_eq!(names(&patterns(&look(new, &[("/home", 60.0)]), &[])), ["ja3_randomisation"]);
    }

    #[test]
    fn a_program_that_shows_another_ja3_at_every_visit_is_told_from_one_of_several_versions() {
        let versions =
            ClientSums { requests: 900.0, visits_again: 32.0, visits_new_ja3: 4.0, ..ClientSums::default() };
        assert!(patterns(&look(versions, &[("/home", 900.0)]), &[]).is_empty());
        let random = ClientSums { visits_new_ja3: 32.0, ..versions };
        assert_eq!(names(&patterns(&look(random, &[("/home", 900.0)]), &[])), ["ja3_randomisation"]);
        let browsers = ClientSums { usual_pair: 800.0, ..random };
        assert_eq!(names(&patterns(&look(browsers, &[("/home", 900.0)]), &[])), ["header_mimicry"]);
        let few = ClientSums { visits_again: 14.0, visits_new_ja3: 14.0, ..random };
        assert!(patterns(&look(few, &[("/home", 900.0)]), &[]).is_empty());
    }

    #[test]
    fn a_tool_that_changes_its_agent_shows_it_also_with_a_request_from_each_address() {
        let thin =
            ClientSums { requests: 81.0, agents_per_ip: 1.4, program_again: 37.0, ..ClientSums::default() };
        assert!(patterns(&look(thin, &[("/home", 81.0)]), &[]).is_empty());
        let tool = ClientSums { again_new_agent: 34.0, ..thin };
        assert_eq!(names(&patterns(&look(tool, &[("/home", 81.0)]), &[])), ["user_agent_rotation"]);
        // What members use comes in many versions, and proves nothing.
        let browsers = ClientSums { usual_pair: 70.0, ..tool };
        assert_eq!(names(&patterns(&look(browsers, &[("/home", 81.0)]), &[])), ["header_mimicry"]);
    }

    #[test]
    fn a_path_of_its_own_for_each_of_few_requests_is_no_chance() {
        let routes = [("/title/{id}", 17.0), ("/x/{id}", 17.0)];
        let own = ClientSums { requests: 34.0, paths: 34.0, ..ClientSums::default() };
        assert_eq!(names(&patterns(&look(own, &routes), &[])), ["carpet"]);
        let chance = ClientSums { paths: 28.0, ..own };
        assert!(patterns(&look(chance, &routes), &[]).is_empty());
    }

    #[test]
    fn what_is_turned_away_at_once_holds_nothing() {
        let kept = ClientSums {
            requests: 100.0,
            answered: 50.0,
            slow: 50.0,
            stopped: 40.0,
            ..ClientSums::default()
        };
        assert_eq!(names(&patterns(&look(kept, &[("/home", 100.0)]), &[])), ["low_and_slow"]);
        let away = ClientSums { answered: 5.0, slow: 5.0, stopped: 0.0, ..kept };
        assert!(patterns(&look(away, &[("/home", 100.0)]), &[]).is_empty());
    }
}
