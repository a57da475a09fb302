//! What one process has seen of everyone, and the laws that hold for every such history.

use serf::membership::{Members, Row, State};
use serf::messaging::name_vote::NameLost;
use serf::model::{Incarnation, MemberEvent, MemberEventKind, MemberEvents, NodeName, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

/// How a member is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Answers.
    Alive,
    /// Under suspicion.
    Suspect,
    /// Given up.
    Failed,
    /// Gone on its own wish.
    Left,
}

impl Phase {
    fn is_present(self) -> bool {
        matches!(self, Phase::Alive | Phase::Suspect)
    }
}

/// One row as it is at some moment.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// Whose.
    pub name: NodeName,
    /// Highest incarnation admitted.
    pub incarnation: Incarnation,
    /// How it is.
    pub phase: Phase,
}

impl From<&Row> for Sight {
    fn from(row: &Row) -> Sight {
        let phase = match row.state {
            State::Alive => Phase::Alive,
            State::Suspect(_) => Phase::Suspect,
            State::Dead => Phase::Failed,
            State::Left => Phase::Left,
        };
        Sight { name: row.name.clone(), incarnation: row.incarnation, phase }
    }
}

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// An event came that cannot follow the one before it.
    EventOutOfOrder { subject: NodeName, before: Option<MemberEventKind>, event: MemberEventKind },
    /// An event carries a member whose status says something else.
    EventContradictsItself { subject: NodeName, event: MemberEventKind, status: Status },
    /// The table says one thing, the events that were told another.
    EventsContradictTable { subject: NodeName, told: Option<MemberEventKind>, phase: Option<Phase> },
    /// An incarnation fell while the row existed.
    IncarnationFell { subject: NodeName, from: Incarnation, to: Incarnation },
    /// A member came back from failed or left without a higher incarnation.
    RoseWithoutRefuting { subject: NodeName, incarnation: Incarnation },
    /// A member is known in an incarnation in which it never was.
    InventedIncarnation { subject: NodeName, known: Incarnation, stated: Incarnation },
    /// A running process that means to stay does not believe itself alive.
    DeniesItself,
    /// A datagram is larger than the budget.
    Oversized { len: usize, budget: usize },
    /// Something was sent to an address that no member has and that did not ask.
    SentToOutsider { to: SocketAddr },
    /// More is queued than there are members to speak of.
    QueueTooLong { queued: usize, names: usize },
    /// Woken again and again for the same moment.
    BusyLoop,
    /// Of a member the same was delivered twice in a row.
    DeliveredTwice { subject: NodeName, kind: MemberEventKind },
    /// What was delivered last of a member is not what happened to it last.
    DeliveryDiffers { subject: NodeName, told: Option<MemberEventKind>, delivered: Option<MemberEventKind> },
    /// A member gave up its name although nobody else has it.
    LostToNobody { theirs: SocketAddr },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What has been counted along the way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Alive, then suspected.
    pub suspicions: u64,
    /// Suspected, then alive again.
    pub refutations: u64,
    /// Failed or left, then alive again.
    pub returns: u64,
}

/// The history of one process's view.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    /// By name, as the table is.
    known: BTreeMap<NodeName, Known>,
    /// What was last delivered to handlers of each member, updates aside; without the reaped.
    delivered: BTreeMap<NodeName, MemberEventKind>,
    /// Counts for the statistics.
    pub seen: Seen,
}

/// What was last told of a member, updates aside, and how it was last seen.
#[derive(Debug)]
struct Known {
    told: MemberEventKind,
    sight: Option<Sight>,
}

impl Observer {
    /// Takes in an event. Joins, and leaves or failures, take turns; an update needs someone
    /// present; only who is gone is reaped.
    pub(crate) fn event(&mut self, event: &MemberEvent) -> Result<(), Violation> {
        use MemberEventKind::{Failed, Join, Leave, Reap, Update};
        let (subject, kind, status) = (event.member.name.clone(), event.kind, event.member.status);
        let before = self.known.get(&subject).map(|k| k.told);
        let follows = match kind {
            Join => matches!(before, None | Some(Leave | Failed)),
            // A failed member can be made to leave.
            Leave => matches!(before, Some(Join | Failed)),
            Failed | Update => before == Some(Join),
            Reap => matches!(before, Some(Leave | Failed)),
        };
        if !follows {
            return Err(Violation::EventOutOfOrder { subject, before, event: kind });
        }
        let fits = match kind {
            Join | Update => matches!(status, Status::Alive | Status::Leaving),
            Leave => status == Status::Left,
            Failed => status == Status::Failed,
            Reap => matches!(status, Status::Left | Status::Failed),
        };
        if !fits {
            return Err(Violation::EventContradictsItself { subject, event: kind, status });
        }
        match (kind, self.known.get_mut(&subject)) {
            (Update, _) => {}
            (Reap, _) => drop(self.known.remove(&subject)),
            (Join | Leave | Failed, Some(known)) => known.told = kind,
            (Join | Leave | Failed, None) => {
                self.known.insert(subject, Known { told: kind, sight: None });
            }
        }
        Ok(())
    }

    /// Takes in what is delivered to handlers, after coalescing.
    pub(crate) fn delivered(&mut self, events: &MemberEvents) -> Result<(), Violation> {
        use MemberEventKind::{Reap, Update};
        let kind = events.kind;
        for member in &events.members {
            let subject = member.name.clone();
            let before = match kind {
                Update => continue,
                Reap => self.delivered.remove(&subject),
                _ => self.delivered.insert(subject.clone(), kind),
            };
            if before == Some(kind) {
                return Err(Violation::DeliveredTwice { subject, kind });
            }
        }
        Ok(())
    }

    /// When nothing is held back any more, handlers know of every member what has happened last.
    pub(crate) fn delivered_all(&self) -> Result<(), Violation> {
        for subject in self.known.keys().chain(self.delivered.keys()) {
            let told = self.known.get(subject).map(|k| k.told);
            let delivered = self.delivered.get(subject).copied();
            if told != delivered {
                return Err(Violation::DeliveryDiffers { subject: subject.clone(), told, delivered });
            }
        }
        Ok(())
    }

    /// Takes in the table, by name, after the step's events. `stated` are the highest
    /// incarnations that members have given themselves.
    pub(crate) fn table(
        &mut self,
        mut rows: impl Iterator<Item = Sight>,
        stated: &BTreeMap<NodeName, Incarnation>,
    ) -> Result<(), Violation> {
        let mut known = self.known.iter_mut();
        loop {
            // Whoever was told of has a row, and whoever has a row was told of, in one order.
            let (now, (name, known)) = match (rows.next(), known.next()) {
                (None, None) => return Ok(()),
                (Some(now), Some(known)) if now.name == *known.0 => (now, known),
                (now, known) => {
                    let subject = now.as_ref().map(|n| &n.name).or(known.as_ref().map(|k| k.0)).cloned();
                    let subject = subject.expect("one of the two is there");
                    let (told, phase) = (known.map(|k| k.1.told), now.map(|n| n.phase));
                    return Err(Violation::EventsContradictTable { subject, told, phase });
                }
            };
            if !agree(known.told, now.phase) {
                let (subject, told, phase) = (name.clone(), Some(known.told), Some(now.phase));
                return Err(Violation::EventsContradictTable { subject, told, phase });
            }
            if known.sight.as_ref().is_none_or(|before| before.incarnation != now.incarnation) {
                let most = stated.get(name).copied().unwrap_or_default();
                if now.incarnation > most {
                    let (subject, known) = (name.clone(), now.incarnation);
                    return Err(Violation::InventedIncarnation { subject, known, stated: most });
                }
            }
            if let Some(before) = &known.sight {
                progress(before, &now, &mut self.seen)?;
            }
            known.sight = Some(now);
        }
    }
}

/// Whether the last event told of a member fits how its row is.
fn agree(told: MemberEventKind, phase: Phase) -> bool {
    use MemberEventKind::{Failed, Join, Leave, Reap, Update};
    match told {
        Join => phase.is_present(),
        Failed => phase == Phase::Failed,
        Leave => phase == Phase::Left,
        // Neither is ever the last that is remembered of a member.
        Update | Reap => false,
    }
}

fn progress(before: &Sight, now: &Sight, seen: &mut Seen) -> Result<(), Violation> {
    if now.incarnation < before.incarnation {
        let (from, to) = (before.incarnation, now.incarnation);
        return Err(Violation::IncarnationFell { subject: now.name.clone(), from, to });
    }
    match (before.phase, now.phase) {
        (Phase::Failed | Phase::Left, phase) if phase.is_present() => {
            seen.returns += 1;
            if now.incarnation == before.incarnation {
                let (subject, incarnation) = (now.name.clone(), now.incarnation);
                return Err(Violation::RoseWithoutRefuting { subject, incarnation });
            }
        }
        (Phase::Alive, Phase::Suspect) => seen.suspicions += 1,
        (Phase::Suspect, Phase::Alive) => seen.refutations += 1,
        _ => {}
    }
    Ok(())
}

/// A running process that means to stay believes itself alive.
pub(crate) fn believes_in_itself(me: &Row) -> Result<(), Violation> {
    if me.status() == Status::Alive { Ok(()) } else { Err(Violation::DeniesItself) }
}

/// A queue holds at most one piece of news of each kind about each name.
pub(crate) fn queue_is_bounded(queued: usize, names: usize) -> Result<(), Violation> {
    if queued <= names { Ok(()) } else { Err(Violation::QueueTooLong { queued, names }) }
}

/// A datagram keeps to the budget.
pub(crate) fn fits_budget(len: usize, members: &Members) -> Result<(), Violation> {
    let budget = members.config().datagram_budget;
    if len <= budget { Ok(()) } else { Err(Violation::Oversized { len, budget }) }
}

/// Nothing is sent to an address that only a message names.
pub(crate) fn known_or_asking(
    to: SocketAddr,
    members: &BTreeSet<SocketAddr>,
    answering: &[SocketAddr],
) -> Result<(), Violation> {
    if members.contains(&to) || answering.contains(&to) {
        return Ok(());
    }
    Err(Violation::SentToOutsider { to })
}

/// A name is lost to a process that has it, or had it, at the address that the others name, and to
/// nobody else. `holders` counts these.
pub(crate) fn loses_to_another(holders: usize, lost: &NameLost) -> Result<(), Violation> {
    let is_held = holders > 0 && lost.theirs != lost.ours;
    if is_held { Ok(()) } else { Err(Violation::LostToNobody { theirs: lost.theirs }) }
}

/// Wake-ups at one and the same moment are few: what was due has been done.
pub(crate) fn moves_on(wakes_at_once: u32) -> Result<(), Violation> {
    const MOST: u32 = 64;
    if wakes_at_once < MOST { Ok(()) } else { Err(Violation::BusyLoop) }
}
