//! Three servers over HTTP, some of which fail under load. Times are printed; what must not happen on
//! any machine is asserted.

#![cfg(all(feature = "http", feature = "json", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::sync::Arc;
use std::time::Duration;

use rr_core::{
    CallError, Client, Context, Error, RequesterExt, Router, Server, Stack, connect, recommended,
    serve,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Calls that have ended: how long each took, and its error.
type Calls = Vec<(Duration, Option<CallError>)>;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn server(address: &str, pause: Duration) -> Server {
    let ping = move |(): ()| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, Error>(())
    };
    serve(&format!("http://{address}"), Router::new().route("a.ping", ping)).await.unwrap()
}

fn host(server: &Server) -> String {
    server.url().strip_prefix("http://").unwrap().to_owned()
}

/// Returns a listener whose queue is full, so that connecting to it never completes.
async fn black_hole() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let (address, mut queued) = (listener.local_addr().unwrap(), Vec::new());
    while let Ok(stream) = timeout(ms(200), TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    (listener, queued)
}

/// Makes 500 idempotent calls per second for a time, or as many as the machine can: no more than 32
/// are in flight, so that a busy machine makes fewer calls instead of late ones.
async fn load(client: &Arc<Stack<Client>>, time: Duration, limit: Duration) -> Calls {
    let (begin, mut calls) = (Instant::now(), JoinSet::new());
    let places = Arc::new(Semaphore::new(32));
    let mut ticks = interval(ms(2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while begin.elapsed() < time {
        ticks.tick().await;
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let client = Arc::clone(client);
        calls.spawn(async move {
            let _place = place;
            let (started, ctx) = (Instant::now(), Context::background().with_timeout(limit));
            let outcome = client.call::<()>(&ctx, "a.ping", &()).idempotent().await;
            (started.elapsed(), outcome.err())
        });
    }
    calls.join_all().await
}

fn failed(calls: &Calls) -> usize {
    calls.iter().filter(|(_, error)| error.is_some()).count()
}

fn p99(calls: &Calls) -> Duration {
    let mut times: Vec<_> = calls.iter().map(|(took, _)| *took).collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

async fn client_of(hosts: [String; 3]) -> Arc<Stack<Client>> {
    let client = connect(&format!("http://{}", hosts.join(","))).await.unwrap();
    Arc::new(recommended(client))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_that_swallows_packets_and_one_that_is_slow_fail_less_than_one_call_in_a_hundred()
{
    const ANY: &str = "127.0.0.1:0";
    let (a, b, c) = (server(ANY, ms(5)).await, server(ANY, ms(5)).await, server(ANY, ms(5)).await);
    let usual = load(&client_of([host(&a), host(&b), host(&c)]).await, ms(3000), ms(2000)).await;
    assert_eq!(failed(&usual), 0);
    let (hole, _queued) = black_hole().await;
    let slow = server(ANY, ms(300)).await;
    let hosts = [host(&a), hole.local_addr().unwrap().to_string(), host(&slow)];
    let calls = load(&client_of(hosts).await, ms(5000), ms(2000)).await;
    let ratio = p99(&calls).as_secs_f64() / p99(&usual).as_secs_f64();
    println!(
        "{} of {} calls failed; p99 {:?}, {ratio:.2} times that of healthy hosts ({:?})",
        failed(&calls),
        calls.len(),
        p99(&calls),
        p99(&usual),
    );
    assert!(failed(&calls) * 100 < calls.len(), "{} of {}", failed(&calls), calls.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_three_hosts_fails_no_idempotent_call() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(server("127.0.0.1:0", ms(5)).await);
    }
    let hosts: Vec<String> = servers.iter().map(host).collect();
    let client = client_of(hosts.clone().try_into().unwrap()).await;
    let restarts = async {
        for at in 0..3 {
            tokio::time::sleep(ms(500)).await;
            servers[at].shutdown(ms(5000)).await;
            tokio::time::sleep(ms(500)).await;
            servers[at] = server(&hosts[at], ms(5)).await;
        }
    };
    let (calls, ()) = tokio::join!(load(&client, ms(6000), ms(20_000)), restarts);
    println!("{} calls, p99 {:?}", calls.len(), p99(&calls));
    let errors: Vec<_> = calls.iter().filter_map(|(_, error)| error.as_ref()).collect();
    assert!(errors.is_empty(), "{} failed, such as {:?}", errors.len(), errors[0]);
}
