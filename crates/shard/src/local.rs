//! Recipients of local domains: whom one stands for when it is accepted, what
//! becomes of one that nobody knows, and the places of this machine.
//!
//! Decides nothing itself: [`control::Locals`] does. Invariant: once a recipient
//! was tried, held or released, nothing is decided about it any more.
//!
//! Read first: RFC 5321 §3.9.1, RFC 3461 §5.2.7.

use control::{Accepted, Fate, Locals, Nobody, Policy, Site};
use mail::{Address, Envelope, Recipient, Status, xtext};
use queue::DestinationKey;
use smtp::Answer;
use smtp::submission::{EXPANDED_MAX, Taken};

use crate::dispatch::{BELIEVED_LITERAL, Hosting};
use crate::epoch::Way;
use crate::mesh::{Descriptor, SettledAs, Settlement};
use crate::shard::{Shard, Turn};

pub(crate) const NO_SUCH_USER: &str = "no such user here";

/// Whom a recipient stands for.
///
/// # Errors
/// The answer to one that nobody gets mail for.
pub(crate) fn taken(locals: &Locals, recipient: &Recipient) -> Result<Taken, Answer> {
    match locals.accept(&recipient.address) {
        Ok(Accepted::AsIs) => Ok(Taken::AsIs),
        Ok(Accepted::Instead(others)) => Ok(Taken::As(standing_for(recipient, others))),
        Err(Nobody::Unknown) => {
            let text = format!("<{}>: {NO_SUCH_USER}", recipient.address);
            Err(Answer::new(550, Status::BAD_MAILBOX, text))
        }
        Err(Nobody::Endless) => {
            let text = format!("<{}>: its aliases lead nowhere", recipient.address);
            Err(Answer::new(451, Status::MISCONFIGURED, text))
        }
    }
}

/// Puts those in the place of recipients that they stand for.
///
/// # Errors
/// The answer to the first that nobody gets mail for, or to too many.
pub(crate) fn replace(locals: &Locals, envelope: &mut Envelope) -> Result<(), Answer> {
    if locals.is_empty() {
        return Ok(());
    }
    let mut all = Vec::with_capacity(envelope.recipients.len());
    for recipient in std::mem::take(&mut envelope.recipients) {
        match taken(locals, &recipient)? {
            Taken::AsIs => all.push(recipient),
            Taken::As(others) => all.extend(others),
        }
        if all.len() > EXPANDED_MAX {
            return Err(Answer::new(452, Status::TOO_MANY_RECIPIENTS, "Too many recipients"));
        }
    }
    envelope.recipients = all;
    Ok(())
}

/// What a local domain makes of an address, in words, and whether somebody
/// gets mail for it; `None` for all others.
pub(crate) fn told(policy: &Policy, address: &Address) -> Option<(bool, String)> {
    let said = control::explain::local(policy, address);
    let decision = said["decision"].as_str()?.to_owned();
    let known = match policy.locals.accept(address) {
        Ok(Accepted::AsIs) => policy.locals.fate(address) == Fate::Deliver,
        Ok(Accepted::Instead(_)) => true,
        Err(_) => false,
    };
    let all = said["passed_to"].as_array().into_iter().flatten();
    let names: Vec<&str> = all.filter_map(serde_json::Value::as_str).collect();
    let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    Some((known, decision + &names))
}

/// The same wishes for each, and the address that all of it was meant for
/// (RFC 3461 §5.2.7).
fn standing_for(recipient: &Recipient, others: Vec<Address>) -> Vec<Recipient> {
    let orcpt = recipient.orcpt.clone().or_else(|| {
        let mut orcpt = String::from("rfc822;");
        xtext::encode(&recipient.address.to_string(), &mut orcpt);
        recipient.address.is_ascii().then(|| orcpt.into())
    });
    let notify = recipient.notify;
    let of = |address| Recipient { notify, orcpt: orcpt.clone(), ..Recipient::new(address) };
    others.into_iter().map(of).collect()
}

impl Shard {
    /// A place of this machine, where no name is looked up.
    pub(crate) fn at_own_place(
        &mut self,
        turn: &mut Turn<'_>,
        destination: DestinationKey,
        way: &Way,
        hosts: Hosting,
    ) {
        let until = turn.now.mono + BELIEVED_LITERAL;
        match Site::of_relay(way, way.exit()) {
            Some(site) => self.at_site(turn, destination, way.clone(), site, hosts, until),
            None => self.route_anew(destination),
        }
    }

    /// Whom a report for `to` goes to.
    pub(crate) fn readers(&self, to: Recipient) -> Vec<Recipient> {
        match self.policy.locals.accept(&to.address) {
            Ok(Accepted::Instead(others)) => standing_for(&to, others),
            _ => vec![to],
        }
    }

    /// What becomes of a recipient that was accepted, before its first attempt.
    pub(crate) fn fate_of(&self, descriptor: &Descriptor, address: &Address) -> Fate {
        let Descriptor { attempts, held, due, arrived, .. } = *descriptor;
        // What is due later than it came was tried, or released by somebody.
        if self.policy.locals.is_empty() || attempts > 0 || held || due > arrived {
            return Fate::Deliver;
        }
        self.policy.locals.fate(address)
    }

    /// Nobody knows a recipient: it is returned, or held.
    pub(crate) fn unknown_user(
        &mut self,
        turn: &Turn<'_>,
        descriptor: &Descriptor,
        address: &Address,
        fate: Fate,
    ) {
        let result = match fate {
            Fate::Hold => SettledAs::Held,
            Fate::Deliver | Fate::Bounce => SettledAs::Failed,
        };
        if fate == Fate::Hold {
            let held = Descriptor { held: true, ..descriptor.clone() };
            self.enqueue(turn, &held, address, self.id);
        }
        let settlement = Settlement {
            message: descriptor.message,
            recipient: descriptor.recipient,
            attempt: descriptor.attempts,
            result,
            in_doubt: false,
            status: Status::BAD_MAILBOX,
            text: NO_SUCH_USER.into(),
            host: Box::default(),
            source: Box::default(),
            site: None,
            route: None,
            session: None,
            owner: self.id,
        };
        self.settle_with(self.id, settlement);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::Config;
    use mail::{Domain, Notify};

    fn locals(rest: &str) -> Locals {
        let text = format!(
            "[[local]]\nmatch = \"a.example\"\ndeliver = {{ smtp = \"10.0.0.1\" }}\n\
             users = \"ann\"\n{rest}\n"
        );
        let machine = Domain::parse("box.example").unwrap();
        Config::parse(&text, &machine).unwrap().policy.locals
    }

    fn to(address: &str) -> Recipient {
        Recipient::new(Address::parse(address, true).unwrap())
    }

    /// Proves: RFC 5321 §3.9.1
    /// Covers: A14.3, A14.4
    #[test]
    fn others_have_the_wishes_and_the_first_address_of_the_one_they_stand_for() {
        let locals = locals("aliases = { \"all+x\" = [\"ann\", \"b@far.example\"] }");
        let asked = Recipient { notify: Notify::NEVER, ..to("all+x@a.example") };
        let Ok(Taken::As(others)) = taken(&locals, &asked) else { panic!("an alias") };
        let told: Vec<_> = others.iter().map(|one| one.address.to_string()).collect();
        assert_eq!(told, ["ann@a.example", "b@far.example"]);
        for other in &others {
            assert_eq!(other.notify, Notify::NEVER);
            assert_eq!(other.orcpt.as_deref(), Some("rfc822;all+2Bx@a.example"));
        }
        let asked = Recipient { orcpt: Some("rfc822;first@x".into()), ..asked };
        let Ok(Taken::As(others)) = taken(&locals, &asked) else { panic!("an alias") };
        assert_eq!(others[0].orcpt.as_deref(), Some("rfc822;first@x"), "the first one stays");
    }

    /// What comes by other doors than SMTP is read in the same way.
    ///
    /// Shows: S3.4
    #[test]
    fn a_whole_envelope_is_replaced_or_refused() {
        let locals = locals("aliases = { all = [\"ann\", \"b@far.example\"] }");
        let envelope = |all: &[&str]| {
            Envelope::new(mail::ReversePath::Null, all.iter().map(|one| to(one)).collect())
        };
        let mut known = envelope(&["all@a.example", "c@far.example"]);
        replace(&locals, &mut known).unwrap();
        let told: Vec<_> = known.recipients.iter().map(|one| one.address.to_string()).collect();
        assert_eq!(told, ["ann@a.example", "b@far.example", "c@far.example"]);
        let refusal = replace(&locals, &mut envelope(&["eve@a.example"])).unwrap_err();
        assert_eq!(refusal.code.number(), 550);
    }

    /// Shows: S3.5
    #[test]
    fn an_unknown_user_is_refused_with_its_name() {
        let refusal = taken(&locals(""), &to("eve@a.example")).unwrap_err();
        assert_eq!((refusal.code.number(), refusal.status), (550, Some(Status::BAD_MAILBOX)));
        let mut line = Vec::new();
        refusal.write(&mut line);
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line, "550 5.1.1 <eve@a.example>: no such user here\r\n");
        assert_eq!(taken(&locals(""), &to("ann@a.example")), Ok(Taken::AsIs));
        assert_eq!(taken(&locals(""), &to("eve@far.example")), Ok(Taken::AsIs));
    }
}
