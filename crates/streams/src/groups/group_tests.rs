//! The life of a group, told the time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn request(member: &str) -> JoinRequest {
    JoinRequest {
        member: member.to_owned(),
        session_ms: 10_000,
        rebalance_ms: 30_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
        ..JoinRequest::default()
    }
}

fn group() -> (GroupState, Instant) {
    (GroupState::new(Duration::ZERO), Instant::now())
}

type Answer<T> = oneshot::Receiver<Result<T>>;

fn answered<T>(answer: &mut Answer<T>) -> T {
    answer.try_recv().expect("there is an answer").expect("it is no error")
}

fn waits<T>(answer: &mut Answer<T>) -> bool {
    matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty))
}

fn membership(member: &str, generation: i32) -> Membership {
    Membership { member: member.to_owned(), instance: None, generation }
}

fn sync(member: &str, generation: i32, shares: &[(&str, &'static str)]) -> SyncRequest {
    let share = |(member, share): &(&str, &'static str)| ((*member).to_owned(), Bytes::from_static(share.as_bytes()));
    SyncRequest {
        membership: membership(member, generation),
        assignments: shares.iter().map(share).collect(),
        ..SyncRequest::default()
    }
}

/// A group of a and b, stable in generation 2, led by a.
fn of_two() -> (GroupState, Instant) {
    let (mut state, now) = group();
    let mut first = state.join(request(""), "a".into(), now).unwrap();
    assert_eq!(answered(&mut first).generation, 1);
    answered(&mut state.sync(sync("a", 1, &[("a", "all")]), now).unwrap());
    let mut second = state.join(request(""), "b".into(), now).unwrap();
    assert!(waits(&mut second), "a has not joined again yet");
    assert!(matches!(state.heartbeat(&membership("a", 1), now), Err(Error::RebalanceInProgress)));
    let mut first = state.join(request("a"), String::new(), now).unwrap();
    let (first, second) = (answered(&mut first), answered(&mut second));
    assert_eq!((first.generation, second.generation, first.leader.as_str()), (2, 2, "a"));
    assert_eq!((first.members.len(), second.members.len()), (2, 0), "the leader alone learns of the members");
    let mut late = state.sync(sync("b", 2, &[]), now).unwrap();
    assert!(waits(&mut late), "the leader has not brought the shares");
    let mut lead = state.sync(sync("a", 2, &[("a", "left"), ("b", "right")]), now).unwrap();
    assert_eq!((answered(&mut lead).assignment, answered(&mut late).assignment), ("left".into(), "right".into()));
    (state, now)
}

#[test]
fn two_members_share() {
    let (state, _) = of_two();
    assert_eq!(state.view("g").state, "Stable");
}

#[test]
fn a_silent_member_is_out_after_its_session_and_the_others_share_anew() {
    let (mut state, now) = of_two();
    state.heartbeat(&membership("a", 2), now + 8 * SECOND).unwrap();
    assert_eq!(state.tick(now + 9 * SECOND), Step::WaitUntil(now + 10 * SECOND));
    state.tick(now + 10 * SECOND);
    assert!(matches!(state.heartbeat(&membership("b", 2), now + 10 * SECOND), Err(Error::UnknownMember)));
    assert!(matches!(state.heartbeat(&membership("a", 2), now + 10 * SECOND), Err(Error::RebalanceInProgress)));
    let mut again = state.join(request("a"), String::new(), now + 10 * SECOND).unwrap();
    assert_eq!(answered(&mut again).generation, 3);
}

#[test]
fn a_member_that_does_not_join_in_time_is_left_behind() {
    let (mut state, now) = of_two();
    let mut third = state.join(request(""), "c".into(), now).unwrap();
    let mut first = state.join(request("a"), String::new(), now).unwrap();
    // b keeps saying that it is alive, but does not join.
    for second in 1..30 {
        let _ = state.heartbeat(&membership("b", 2), now + second * SECOND);
        state.tick(now + second * SECOND);
        assert!(waits(&mut first) && waits(&mut third));
    }
    state.tick(now + 30 * SECOND);
    assert_eq!(answered(&mut first).members.len(), 2);
    assert_eq!(answered(&mut third).generation, 3);
    assert!(matches!(state.heartbeat(&membership("b", 2), now + 30 * SECOND), Err(Error::UnknownMember)));
}

#[test]
fn the_last_one_to_leave_empties_the_group() {
    let (mut state, now) = of_two();
    state.leave("b", None, now).unwrap();
    let mut first = state.join(request("a"), String::new(), now).unwrap();
    assert_eq!(answered(&mut first).members.len(), 1);
    state.leave("a", None, now).unwrap();
    assert!(matches!(state.leave("a", None, now), Err(Error::UnknownMember)));
    assert_eq!((state.view("g").state, state.tick(now)), ("Empty", Step::Unused));
}

#[test]
fn a_new_member_may_be_told_its_id_first_and_is_forgotten_if_it_never_comes() {
    let (mut state, now) = group();
    let asked = JoinRequest { id_first: true, ..request("") };
    let Err(Error::MemberIdRequired(id)) = state.join(asked.clone(), "a".into(), now) else { panic!() };
    assert_eq!(id, "a");
    let mut first = state.join(JoinRequest { member: id, ..asked.clone() }, String::new(), now).unwrap();
    assert_eq!(answered(&mut first).member, "a");
    let _ = state.join(asked, "b".into(), now);
    assert!(!state.is_unused());
    state.leave("a", None, now).unwrap();
    assert_eq!(state.tick(now + 10 * SECOND), Step::Unused);
}

#[test]
fn commits_need_the_current_generation() {
    let (mut state, now) = of_two();
    state.check_commit(&membership("a", 2), now).unwrap();
    assert!(matches!(state.check_commit(&membership("a", 1), now), Err(Error::IllegalGeneration)));
    assert!(matches!(state.check_commit(&membership("x", 2), now), Err(Error::UnknownMember)));
    assert!(matches!(state.check_commit(&membership("", -1), now), Err(Error::UnknownMember)));
    let _rebalance = state.join(request(""), "c".into(), now).unwrap();
    state.check_commit(&membership("a", 2), now).expect("a member may commit before it joins again");
}

#[test]
fn a_static_member_returns_to_its_share_without_a_new_round() {
    let (mut state, now) = group();
    let named = |member: &str| JoinRequest { instance: Some("one".into()), ..request(member) };
    answered(&mut state.join(named(""), "a".into(), now).unwrap());
    answered(&mut state.sync(sync("a", 1, &[("a", "all")]), now).unwrap());
    let back = answered(&mut state.join(named(""), "b".into(), now).unwrap());
    assert_eq!((back.generation, back.member.as_str(), back.skip_assignment), (1, "b", true));
    assert_eq!(answered(&mut state.sync(sync("b", 1, &[]), now).unwrap()).assignment, "all");
    let old = Membership { member: "a".into(), instance: Some("one".into()), generation: 1 };
    assert!(matches!(state.heartbeat(&old, now), Err(Error::FencedInstance)));
}

#[test]
fn members_without_a_common_protocol_do_not_come_together() {
    let (mut state, now) = of_two();
    let other = JoinRequest { protocols: vec![("sticky".into(), Bytes::new())], ..request("") };
    assert!(matches!(state.join(other, "c".into(), now), Err(Error::InconsistentProtocol)));
    let other = JoinRequest { protocol_type: "connect".into(), ..request("") };
    assert!(matches!(state.join(other, "c".into(), now), Err(Error::InconsistentProtocol)));
}

#[test]
fn a_leader_that_never_brings_the_shares_is_out() {
    let (mut state, now) = group();
    answered(&mut state.join(request(""), "a".into(), now).unwrap());
    let mut second = state.join(request(""), "b".into(), now).unwrap();
    let mut first = state.join(request("a"), String::new(), now).unwrap();
    answered(&mut first);
    answered(&mut second);
    let mut share = state.sync(sync("b", 2, &[]), now).unwrap();
    let mut time = now;
    for _ in 0..10 {
        time += SECOND;
        state.tick(time);
    }
    assert!(matches!(share.try_recv(), Ok(Err(Error::RebalanceInProgress))));
    let mut alone = state.join(request("b"), String::new(), time).unwrap();
    assert_eq!(answered(&mut alone).leader, "b");
}

#[test]
fn the_first_members_are_given_time_to_come_together() {
    let (mut state, now) = (GroupState::new(3 * SECOND), Instant::now());
    let mut first = state.join(request(""), "a".into(), now).unwrap();
    let mut second = state.join(request(""), "b".into(), now + SECOND).unwrap();
    assert_eq!(state.tick(now + 2 * SECOND), Step::WaitUntil(now + 4 * SECOND));
    assert!(waits(&mut first));
    state.tick(now + 4 * SECOND);
    assert_eq!((answered(&mut first).generation, answered(&mut second).generation), (1, 1));
}

/// What a consumer says to the leader: its topics, and behind them what changes with every round.
fn subscription(topics: &[&str], rest: &[u8]) -> Bytes {
    let mut out = vec![0, 1];
    out.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        out.extend((topic.len() as i16).to_be_bytes());
        out.extend(topic.as_bytes());
    }
    out.extend(rest);
    out.into()
}

#[test]
fn a_static_member_that_tells_of_another_round_returns_without_a_new_one() {
    let (mut state, now) = group();
    let named = |topics: &[&str], rest: &[u8]| JoinRequest {
        instance: Some("one".into()),
        protocols: vec![("range".to_owned(), subscription(topics, rest))],
        ..request("")
    };
    answered(&mut state.join(named(&["a", "b"], b"before"), "a".into(), now).unwrap());
    answered(&mut state.sync(sync("a", 1, &[("a", "all")]), now).unwrap());
    let back = answered(&mut state.join(named(&["b", "a"], b""), "b".into(), now).unwrap());
    assert_eq!((back.generation, back.skip_assignment), (1, true));
    let other = answered(&mut state.join(named(&["a"], b""), "c".into(), now).unwrap());
    assert_eq!((other.generation, other.skip_assignment), (2, false), "it wants other topics");
}

#[test]
fn a_member_whose_names_are_too_long_is_refused() {
    let long = || "x".repeat(2_000);
    let protocols = |count: usize, name: &str| vec![(name.to_owned(), Bytes::new()); count];
    for refused in [
        JoinRequest { protocol_type: long(), ..request("") },
        JoinRequest { protocols: protocols(1, &long()), ..request("") },
        JoinRequest { protocols: protocols(1_000, "range"), ..request("") },
        JoinRequest { instance: Some(long()), ..request("") },
        JoinRequest { client: long(), ..request("") },
    ] {
        let (mut state, now) = group();
        let error = state.join(refused, "a".into(), now).expect_err("it is refused");
        assert_eq!(error.kind(), ballast_types::ErrorKind::Invalid, "{error}");
    }
}

#[test]
fn a_member_whose_client_has_a_long_name_can_join_again() {
    let (mut state, now) = group();
    let client = "x".repeat(limits::MEMBER_NAME_BYTES_MAX);
    let id = format!("{client}-{}", uuid::Uuid::nil());
    answered(&mut state.join(JoinRequest { client: client.clone(), ..request("") }, id.clone(), now).unwrap());
    let again = JoinRequest { client, ..request(&id) };
    assert_eq!(answered(&mut state.join(again, String::new(), now).unwrap()).member, id);
}
