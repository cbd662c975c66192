//! Scripted peers do what their scripts say.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod toy;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meltemi_frame::{Kind, Protocol};
use meltemi_testkit::peer::{Answer, Downstream, End, Received, Script, Upstream};
use toy::Chat;

const SOON: Duration = Duration::from_secs(5);

fn chat() -> Arc<dyn Protocol> {
    Arc::new(Chat::new())
}

fn ok(request: &Received) -> Bytes {
    let id = request.message.message().head.id.unwrap_or_default();
    Bytes::from(format!("={id} ok\n"))
}

async fn pair(
    answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
) -> (Upstream, Downstream) {
    let upstream = Upstream::start(chat(), answer).await.unwrap();
    let client = Downstream::connect(upstream.address(), chat())
        .await
        .unwrap();
    (upstream, client)
}

#[tokio::test]
async fn answers_are_heard_and_everything_is_recorded() {
    let (upstream, mut client) = pair(|request| ok(request).into()).await;
    client.send(b"?1 a\n?2 b\n~3\n").await.unwrap();
    let mut heard = client.hear(3, SOON).await;
    heard
        .messages
        .sort_by_key(|message| message.message().head.id);
    assert_eq!(heard.kinds(), [Kind::Response, Kind::Response, Kind::Pong]);
    assert_eq!((heard.end, upstream.connections()), (End::Enough, 1));
    assert_eq!(upstream.bytes(0), b"?1 a\n?2 b\n~3\n");
    assert!(upstream.receives(3, SOON).await);
    assert_eq!(upstream.received()[1].message.message().wire(), b"?2 b\n");
    assert_eq!(upstream.open_connections(), 1);
    upstream.stop();
    assert!(matches!(
        client.hear_all(SOON).await.end,
        End::Closed | End::Broke(_)
    ));
}

#[tokio::test]
async fn late_answers_are_overtaken() {
    let (_upstream, mut client) = pair(|request| match request.index {
        0 => Answer::none()
            .wait(Duration::from_millis(30))
            .send(ok(request)),
        _ => ok(request).into(),
    })
    .await;
    client.send(b"?1 a\n?2 b\n").await.unwrap();
    assert_eq!(client.hear(2, SOON).await.ids(), [Some(2), Some(1)]);
}

#[tokio::test]
async fn held_answers_come_behind_the_next() {
    let (_upstream, mut client) = pair(|request| match request.index {
        0 => Answer::none().hold(ok(request)),
        _ => ok(request).into(),
    })
    .await;
    client.send(b"?1 a\n").await.unwrap();
    assert_eq!(
        client.hear(1, Duration::from_millis(30)).await.end,
        End::TimedOut
    );
    client.send(b"?2 b\n").await.unwrap();
    assert_eq!(client.hear(2, SOON).await.ids(), [Some(2), Some(1)]);
}

#[tokio::test]
async fn twice_dribbled_and_then_never() {
    let (_upstream, mut client) = pair(|request| match request.index {
        0 => Answer::none()
            .send(ok(request))
            .dribble(ok(request), Duration::from_millis(1)),
        _ => Answer::none(),
    })
    .await;
    client
        .dribble(b"?1 a\n?2 b\n", Duration::from_millis(1))
        .await
        .unwrap();
    assert_eq!(client.hear(2, SOON).await.ids(), [Some(1), Some(1)]);
    assert_eq!(
        client.hear(1, Duration::from_millis(30)).await.end,
        End::TimedOut
    );
}

#[tokio::test]
async fn closes_in_the_middle_of_a_message() {
    let (upstream, mut client) = pair(|_| Answer::none().send(&b"=1 o"[..]).close()).await;
    client.send(b"?1 a\n").await.unwrap();
    let heard = client.hear(1, SOON).await;
    assert_eq!((heard.end, client.bytes()), (End::Closed, &b"=1 o"[..]));
    assert_eq!(upstream.open_connections(), 0);
}

#[tokio::test]
async fn half_closes_are_seen_and_the_other_half_goes_on() {
    let (upstream, mut client) =
        pair(|request| Answer::none().send(ok(request)).half_close()).await;
    client.send(b"?1 a\n").await.unwrap();
    let heard = client.hear_all(SOON).await;
    assert_eq!((heard.ids(), heard.end), (vec![Some(1)], End::Closed));
    client.send(b"?2 b\n").await.unwrap();
    assert!(upstream.receives(2, SOON).await);
    client.half_close().await.unwrap();
}

#[tokio::test]
async fn what_was_asked_before_the_end_is_answered() {
    let (_upstream, mut client) = pair(|request| {
        Answer::none()
            .wait(Duration::from_millis(20))
            .send(ok(request))
    })
    .await;
    client.send(b"?1 a\n").await.unwrap();
    client.half_close().await.unwrap();
    let heard = client.hear_all(SOON).await;
    assert_eq!((heard.ids(), heard.end), (vec![Some(1)], End::Closed));
}

#[tokio::test]
async fn greetings_deafness_and_unanswered_pings() {
    let greeting = Answer::from(&b".\n"[..]);
    let script = Script::new(chat()).greeting(greeting).ignoring_pings();
    let upstream = script
        .clone()
        .serve(|request| ok(request).into())
        .await
        .unwrap();
    let mut client = Downstream::connect(upstream.address(), chat())
        .await
        .unwrap();
    client.send(b"~1\n?2 a\n").await.unwrap();
    assert_eq!(
        client.hear(2, SOON).await.kinds(),
        [Kind::GoAway, Kind::Response]
    );

    let address = upstream.address();
    drop(upstream);
    drop(client);
    // The port is free again as soon as the task has ended.
    let deaf = loop {
        match script
            .clone()
            .at(address)
            .deaf()
            .serve(|_| Answer::none())
            .await
        {
            Ok(deaf) => break deaf,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let mut client = Downstream::connect(address, chat()).await.unwrap();
    client.send(b"?1 a\n").await.unwrap();
    assert_eq!(client.hear(1, SOON).await.kinds(), [Kind::GoAway]);
    assert!(!deaf.receives(1, Duration::from_millis(30)).await);
}

#[tokio::test]
async fn garbage_is_told_apart() {
    // A client-side codec of this protocol finds every line malformed, and waits for the next.
    let (_upstream, mut client) = pair(|_| Answer::from(&b"\xff\xfe\n=1 ok\n"[..])).await;
    client.send(b"?1 a\n").await.unwrap();
    let heard = client.hear(1, SOON).await;
    assert_eq!(
        (heard.ids(), heard.bytes()),
        (vec![Some(1)], b"=1 ok\n".to_vec())
    );
    assert_eq!(client.bytes(), b"\xff\xfe\n=1 ok\n");
}
