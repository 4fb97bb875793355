//! Callers that leave.

use std::time::Duration;

use fairkey_gateway::{Departure, End, Settings};
use fairkey_mock::{Event, Latency, On, Step};

use crate::world::*;

fn slow() -> fairkey_mock::Builder {
    let latency = Latency::new(Duration::from_millis(5), Duration::from_millis(20));
    mock().latency(latency).answer_tokens(40..=40)
}

fn draining() -> Settings {
    let mut settings = Settings::default();
    settings.departure = Departure::drain();
    settings
}

/// Asks for a stream and leaves after its first chunk.
async fn leave(world: &World) {
    let request = world.request("POST /v1/chat/completions", STREAM);
    let mut body = world.send(request).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
}

#[tokio::test]
async fn the_upstream_is_left_with_the_caller_and_the_spend_is_asked_for() {
    within(async {
        let mut world = start(slow()).await;
        leave(&world).await;
        world.mock.log().wait_for(Event::is_cancelled).await;
        world.is_idle().await;
        let ended = world.ended.recv().await.unwrap();
        assert_eq!(ended.end, End::Left);
        assert!(ended.generation.unwrap().starts_with("gen-"));
        let cost = ended.cost.expect("the generation was asked for");
        assert!(cost.micro_usd > 0, "{cost:?}");
        assert!(
            world.client.stats().faults.is_empty(),
            "it is nobody's fault"
        );
    })
    .await;
}

#[tokio::test]
async fn by_policy_the_rest_is_read_for_what_it_says_of_its_usage() {
    within(async {
        let mut world = World::start(slow(), draining(), |it| it).await;
        leave(&world).await;
        world.mock.log().wait_for(Event::is_finished).await;
        let ended = world.ended.recv().await.unwrap();
        assert_eq!(ended.end, End::Drained);
        assert!(ended.cost.unwrap().tokens > 40);
        world.is_idle().await;
    })
    .await;
}

#[tokio::test]
async fn a_call_keeps_to_its_end_the_settings_of_when_it_came() {
    within(async {
        let latency = Latency::new(Duration::from_millis(300), Duration::from_millis(5));
        let mock = mock().latency(latency).answer_tokens(40..=40);
        let mut world = World::start(mock, draining(), |it| it).await;
        let log = world.mock.log();
        tokio::join!(leave(&world), async {
            log.wait_for(Event::is_received).await;
            world.gateway.set_settings(Settings::default());
        });
        world.mock.log().wait_for(Event::is_finished).await;
        assert_eq!(world.ended.recv().await.unwrap().end, End::Drained);
        leave(&world).await;
        assert_eq!(world.ended.recv().await.unwrap().end, End::Left);
        world.is_idle().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_read_on_is_bounded() {
    within(async {
        for departure in [(60_000, 100), (20, u64::MAX)] {
            let mut settings = Settings::default();
            let (within, bytes) = departure;
            settings.departure = drain(within, bytes);
            let mut world = World::start(slow(), settings, |it| it).await;
            leave(&world).await;
            world.mock.log().wait_for(Event::is_cancelled).await;
            world.is_idle().await;
            assert_eq!(world.ended.recv().await.unwrap().end, End::Drained);
        }
    })
    .await;
}

fn drain(millis: u64, bytes: u64) -> Departure {
    Departure::drain_within(Duration::from_millis(millis), bytes)
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_answer_begins_holds_no_key() {
    within(async {
        for (body, comments) in [(CHAT, false), (STREAM, false), (STREAM, true)] {
            let mut settings = Settings::default();
            if comments {
                settings.comment_after = Duration::from_millis(1);
            }
            let script = [Step::stall_before_head().forever()];
            let world = World::start(mock().script(On::any(), script), settings, |it| it).await;
            let request = world.request("POST /v1/chat/completions", body);
            let call = async {
                let mut body = world.send(request).await.into_body();
                while body.frame().await.is_some() {}
            };
            let stalled = world.mock.log();
            tokio::select! {
                () = call => panic!("nobody answers"),
                _ = stalled.wait_for(Event::is_stalled) => {}
            }
            world.is_idle().await;
            world.mock.log().wait_for(Event::is_cancelled).await;
        }
    })
    .await;
}

#[tokio::test]
async fn by_policy_a_call_that_is_not_streamed_runs_to_its_end_and_is_accounted_for() {
    within(async {
        let latency = Latency::new(Duration::from_millis(200), Duration::ZERO);
        let mut world = World::start(mock().latency(latency), draining(), |it| it).await;
        let request = world.request("POST /v1/chat/completions", CHAT);
        let received = world.mock.log();
        tokio::select! {
            _ = world.send(request) => panic!("it takes longer"),
            _ = received.wait_for(Event::is_received) => {}
        }
        let ended = world.ended.recv().await.unwrap();
        assert_eq!(ended.end, End::Whole);
        assert!(ended.cost.unwrap().tokens > 0);
        world.mock.log().wait_for(Event::is_finished).await;
        world.is_idle().await;
    })
    .await;
}
