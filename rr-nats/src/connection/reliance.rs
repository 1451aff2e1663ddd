//! Undocumented behaviour of async-nats 0.51.0 that this crate relies on, and for which its version
//! is pinned exactly. Before the pin moves, each line must be checked and its test must pass.
//!
//! | reliance | where | test that fails when it changes |
//! |---|---|---|
//! | `Debug` of a `Subscriber` shows `sid: N,` | `Link::sid` | `reliance::tests::debug_of_a_subscriber_shows_its_number` |
//! | a reply subject is written to the socket unchecked, so that `UNSUB` can be sent in one | `Link::end_at_server` | `drain::a_drain_under_full_load_loses_nothing` |
//! | the reconnect delay callback runs before each attempt, the first included | `Events::dialling` | `failures::a_server_that_dies_under_calls_leaves_them_unknown_and_its_successor_serves_the_same_client` |
//! | an auth callback that fails ends an attempt to connect, and nothing queued is sent | `Events::is_refusing` | `failures::a_stalled_server_keeps_no_call_beyond_its_deadline_and_runs_none_after_its_death` |
//! | a message that cannot be parsed ends the connection, with the event `Disconnected` alone | `Loss::compare` | `connection::messages_that_cannot_be_parsed_cost_other_idempotent_calls_nothing_and_are_named` |
//! | an error of the server in place of `INFO` is shown as `Error(Other("..."))` in the source | `error::said_by_server` | `connection::a_full_server_is_named_and_waited_for` |
//! | a failed TLS handshake is an `io::Error` around a `rustls::Error` | `error::is_tls`, `tls::rustls_error` | `connection::a_server_that_waiting_does_not_mend_is_told_immediately_in_its_own_words`, `tls::a_certificate_that_cannot_be_verified_is_told_at_once` |
//! | a given TLS configuration is used as it is, also for TLS that the server alone requires | `Channel::secured` | `tls::tls_that_only_one_end_speaks_is_told_at_once_with_the_scheme_to_use` |
//! | the name of the server is only passed to the verifier of that configuration | `Tls::apply` | `tls::both_ends_verify_the_name_of_the_url_and_not_the_address_that_it_has` |
//! | the platform's roots are read for each TLS connection too, and an error in them fails it with the kind `Tls` | `Tls::failed` | none: the roots of the platform belong to the whole process |
//! | the auth callback gets the nonce of the server, and its signature is sent | `Authentication::run` | `credentials::both_ends_authenticate_by_nkey_and_by_a_file_that_holds_it` |
//! | `unsubscribe_after` counts delivered messages as the server does | `Subscription::unsubscribe_by_count` | `drain::a_drain_by_count_loses_nothing` |

#[cfg(test)]
mod tests {
    use rr_testkit::NatsServer;

    use crate::connection::Link;

    #[tokio::test]
    async fn debug_of_a_subscriber_shows_its_number() {
        let nats = NatsServer::start().await.unwrap();
        let client = async_nats::connect(nats.url()).await.unwrap();
        let numbers = [client.subscribe("a").await.unwrap(), client.subscribe("b").await.unwrap()]
            .map(|subscriber| Link::sid(&subscriber).unwrap());
        assert_eq!(numbers[1], numbers[0] + 1);
    }
}
