//! The cases that fail through each proxy, and why. Each is what the proxy does: the mechanism of the suite lets no case
//! fail as known in which an error said `NotSent` or `Rejected` of a call that ran.

use rr_testkit::conformance::Plan;

const POOLED: &str =
    "counts the tasks of connections, of which the proxy keeps some for its other clients";

/// What fails through every proxy; `lost` is what it does when the server's connection breaks during a call.
fn any(lost: &str) -> Plan {
    Plan::v1()
        .skip("leak/dropped_client_closes", POOLED)
        .known_failing("delivery/handler_runs_at_most_once_per_call", lost)
        .known_failing("delivery/killed_after_accept_unknown", lost)
        .known_failing("reconnect/pending_all_resolve", lost)
}

/// Over HTTP/1.1.
const LOST: &str = "the proxy answers 502 in place of a server whose connection broke: rr says Unknown, as it \
                    should, but not the reason connection-lost";

/// Over HTTP/2, where HAProxy's refusal would say that nothing ran.
const HAPROXY_REFUSES: &str = "HAProxy refuses the stream of a call whose server it lost: rr does not believe it and says \
                               Unknown, as it should, but not the reason connection-lost";

const HAPROXY_GONE: &str = "HAProxy accepts a call whose server is gone, tries to connect again after a second, and \
                            answers 503, which does not say that the call did not run: rr says Unknown";

const HAPROXY_HEADERS: &str = "HAProxy's buffer (tune.bufsize, 16 KiB) has to hold a whole head with rewrites: it \
                               refuses longer ones itself";

fn haproxy(lost: &str) -> Plan {
    any(lost)
        .known_failing("delivery/nobody_there_not_sent", HAPROXY_GONE)
        .known_failing("drain/newcomers_rejected_retryable", HAPROXY_GONE)
        .known_failing("leak/dropped_server_unsubscribes", HAPROXY_GONE)
        .known_failing("headers/64_entries_16_kib", HAPROXY_HEADERS)
        .known_failing("headers/too_many_refused", HAPROXY_HEADERS)
        .known_failing("headers/too_many_of_a_foreign_peer_refused", HAPROXY_HEADERS)
}

const HAPROXY_BAD_REPLY: &str =
    "HAProxy answers 502 in place of a reply that is not HTTP, so that rr does not see it";

const ONE_BY_ONE: &str = "the proxy forwards pipelined requests one by one, and its buffers and the system's hold a \
                          whole reply: the server never waits for the peer";

pub(super) fn haproxy_h1() -> Plan {
    haproxy(LOST)
        .known_failing("errors/malformed_reply_is_bad_response", HAPROXY_BAD_REPLY)
        .known_failing("size/peers_that_take_nothing_are_ended", ONE_BY_ONE)
}

const HAPROXY_NO_PREFACE: &str = "HAProxy takes garbage in place of HTTP/2 for a connection that is not there yet, \
                                  and tries again until its connect timeout";

const HAPROXY_ENDED: &str = "HAProxy ends a request without content-length that its client broke off as if it were \
                             whole, so that it runs with a part of its body; rr's requesters always send the length";

pub(super) fn haproxy_h2c() -> Plan {
    haproxy(HAPROXY_REFUSES)
        .known_failing("errors/malformed_reply_is_bad_response", HAPROXY_NO_PREFACE)
        .known_failing("errors/garbage_harms_nobody", HAPROXY_ENDED)
}

const NGINX_GONE: &str = "nginx accepts a call whose server is gone, and answers 502, which does not say that the call \
                          did not run: rr says Unknown";

const NGINX_NAMES: &str = "nginx drops request headers with names that have other characters than letters, digits and \
                           hyphens (ignore_invalid_headers, underscores_in_headers)";

const NGINX_LINES: &str =
    "nginx refuses a request header of more than 8 KiB (large_client_header_buffers) with 400";

const NGINX_REPLY_HEAD: &str = "nginx answers 502 in place of a reply whose head is longer than proxy_buffer_size, a \
                                page of memory";

pub(super) fn nginx_h1() -> Plan {
    any(LOST)
        .known_failing("delivery/nobody_there_not_sent", NGINX_GONE)
        .known_failing("drain/newcomers_rejected_retryable", NGINX_GONE)
        .known_failing("leak/dropped_server_unsubscribes", NGINX_GONE)
        .known_failing("headers/request_reaches_responder", NGINX_NAMES)
        .known_failing("headers/binary_names", NGINX_LINES)
        .known_failing("headers/trace_context_of_full_length", NGINX_LINES)
        .known_failing("headers/too_many_of_a_foreign_peer_refused", NGINX_LINES)
        .known_failing("headers/64_entries_16_kib", NGINX_REPLY_HEAD)
        .known_failing(
            "headers/without_end_are_refused",
            "nginx reads a head without end for longer than the case waits",
        )
        .known_failing("size/peers_that_take_nothing_are_ended", ONE_BY_ONE)
}
