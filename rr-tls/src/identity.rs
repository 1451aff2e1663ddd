//! Identity of a peer, from its certificates.

use bytes::Bytes;
use rr_spi::PeerIdentity;
use rustls::CommonState;
use webpki::EndEntityCert;

/// Returns the identity of the other end of a connection whose handshake is complete: `None` if it
/// gave no certificate. The leaf of a complete handshake is verified; the other certificates are as
/// the peer sent them. Names that are malformed are left out.
#[must_use]
pub fn peer_identity(connection: &CommonState) -> Option<PeerIdentity> {
    if connection.is_handshaking() {
        return None;
    }
    let chain = connection.peer_certificates()?;
    let leaf = EndEntityCert::try_from(chain.first()?).ok()?;
    let certificates = chain.iter().map(|each| Bytes::copy_from_slice(each));
    let identity = PeerIdentity::new(certificates)
        .with_dns_names(leaf.valid_dns_names())
        .with_uris(leaf.valid_uri_names());
    Some(identity)
}
