//! `compare scale`: what idle connections and calls in flight hold, and whether calls stay cheap
//! while many wait.

pub(crate) mod burst;
pub(crate) mod idle;
pub(crate) mod parked;

use rr_benches_peers::Result;
use rr_benches_peers::process::raise_file_limit;
use rr_testkit::NatsServer;

use crate::cell::Task;
use crate::machine::Machine;
use crate::process::ask;
use burst::Burst;
use idle::Idle;
use parked::Parked;

/// Measures and prints all of it; tells whether every call of the bursts was answered.
pub(crate) async fn all() -> Result<bool> {
    // Inherited by the broker.
    let files = raise_file_limit()?;
    let broker = NatsServer::start().await?;
    println!("{}, at most {files} open files a process", Machine::here().line());
    connections(&broker.url()).await;
    calls(&broker.url()).await;
    bursts().await
}

async fn connections(broker: &str) {
    println!("\nidle connections, one call made on each: resident bytes of each");
    println!("  {:<20}{:>10}{:>12}{:>12}", "", "number", "client", "server");
    for (peer, broker) in [("rr-http h1", ""), ("rr-http h2", ""), ("rr-nats deadline", broker)] {
        for connections in [1_000, if broker.is_empty() { 9_900 } else { 5_000 }] {
            let (peer, broker) = (peer.to_owned(), broker.to_owned());
            let task = Task::Idle { peer: peer.clone(), broker, connections };
            match ask::<Idle>(&task).await {
                Ok(idle) => {
                    println!(
                        "  {peer:<20}{connections:>10}{:>12.0}{:>12.0}",
                        idle.client, idle.server
                    );
                }
                Err(error) => println!("  {peer:<20}{connections:>10}  not measured: {error}"),
            }
        }
    }
}

async fn calls(broker: &str) {
    println!(
        "\ncalls that wait for their handler, both sides: bytes of each, and what other calls cost meanwhile"
    );
    println!(
        "  {:<20}{:>10}{:>12}{:>12}{:>14}",
        "", "number", "heap B", "resident B", "CPU us a call"
    );
    for (name, url) in [("memory", "memory://parked"), ("rr-nats", broker)] {
        for calls in [0, 1_000, 10_000, 100_000] {
            match ask::<Parked>(&Task::Parked { url: url.to_owned(), calls }).await {
                Ok(Parked { heap, resident, cpu_micros }) => {
                    let bytes = if calls == 0 {
                        format!("{:>12}{:>12}", "-", "-")
                    } else {
                        format!("{heap:>12.0}{resident:>12.0}")
                    };
                    println!("  {name:<20}{calls:>10}{bytes}{cpu_micros:>14.2}");
                }
                Err(error) => println!("  {name:<20}{calls:>10}  not measured: {error}"),
            }
        }
    }
}

async fn bursts() -> Result<bool> {
    println!("\ncalls that all start at once, one client with its defaults");
    println!("  {:<20}{:>10}{:>12}{:>12}", "", "number", "answered", "seconds");
    let mut all = true;
    for (name, url) in
        [("rr-http h2", "http://127.0.0.1:0?version=h2c"), ("rr-http h1", "http://127.0.0.1:0")]
    {
        for calls in [5_000, 10_000] {
            let burst: Burst = ask(&Task::Burst { url: url.to_owned(), calls }).await?;
            let (answered, seconds) = (burst.answered, burst.seconds);
            println!("  {name:<20}{calls:>10}{answered:>12}{seconds:>12.2}");
            if let Some(failure) = burst.failure {
                println!("    the first that failed: {failure}");
            }
            all &= answered == calls;
        }
    }
    Ok(all)
}
