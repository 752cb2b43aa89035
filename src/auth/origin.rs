//! Where a browser's request comes from, and whether a cookie would come back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::uri::{Authority, Scheme, Uri};
use axum::http::{HeaderMap, HeaderName, header};

use crate::error::ApiError;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Refuses a request that a page of another site made. A program sends neither header, and no cookie of somebody else.
pub fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    let site = headers.get(FETCH_SITE).map(|site| site.as_bytes());
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return Err(ApiError::Forbidden("the request comes from a page of another site"));
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin: Option<Uri> = origin.to_str().ok().and_then(|origin| origin.parse().ok());
    // A page cannot set the second one for another site's server without that server's leave, so a proxy did.
    for name in [header::HOST, FORWARDED_HOST] {
        if let (Some(origin), Some(own)) = (&origin, authority(headers, &name))
            && is_same(origin, &own)
        {
            return Ok(());
        }
    }
    Err(ApiError::Forbidden(
        "the Origin of the request is not this server's Host: it comes from another site, or from a proxy that must be \
         set to pass Host on unchanged",
    ))
}

/// Whether a browser keeps a `Secure` cookie that answers this request: over TLS, or from its own machine.
pub fn keeps_secure_cookies(headers: &HeaderMap) -> bool {
    let over_tls = headers.get(FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let page_over_tls = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    over_tls || page_over_tls || authority(headers, &header::HOST).is_some_and(|host| is_loopback(host.host()))
}

/// The client's address: the connection's own, or what a proxy on this machine says it passes on.
pub fn client(headers: &HeaderMap, peer: Option<IpAddr>) -> Option<IpAddr> {
    let peer = peer?;
    if !peer.is_loopback() {
        return Some(peer);
    }
    // The last one was added by the proxy itself; those before it are the client's own words.
    let last = headers.get_all(FORWARDED_FOR).into_iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
    last.parse().ok().or(Some(peer))
}

fn authority(headers: &HeaderMap, name: &HeaderName) -> Option<Authority> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn is_same(origin: &Uri, own: &Authority) -> bool {
    let usual = match origin.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => 443,
        Some(scheme) if *scheme == Scheme::HTTP => 80,
        _ => return false,
    };
    let host = origin.host().is_some_and(|host| host.eq_ignore_ascii_case(own.host()));
    host && origin.port_u16().unwrap_or(usual) == own.port_u16().unwrap_or(usual)
}

fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    if let Some(six) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return six.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_clients_address_is_the_connections_or_a_local_proxys_word() {
        let (local, far) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 7]));
        let forwarded = headers(&[("x-forwarded-for", "203.0.113.9, 198.51.100.4")]);
        assert_eq!(client(&forwarded, Some(local)), Some(IpAddr::from([198, 51, 100, 4])));
        assert_eq!(client(&forwarded, Some(far)), Some(far));
        assert_eq!(client(&headers(&[("x-forwarded-for", "unknown")]), Some(local)), Some(local));
        assert_eq!(client(&headers(&[]), Some(local)), None, "everybody behind a proxy that does not tell");
        assert_eq!(client(&forwarded, None), None);
    }

    #[test]
    fn only_pages_of_this_server_pass() {
        for own in [
            &[("host", "rag.example")][..],
            &[("host", "rag.example"), ("origin", "https://rag.example")],
            &[("host", "RAG.example:443"), ("origin", "https://rag.example")],
            &[("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")],
            &[("host", "[::1]:8080"), ("origin", "http://[::1]:8080")],
            &[("host", "10.0.0.5:8080"), ("x-forwarded-host", "rag.example"), ("origin", "https://rag.example")],
        ] {
            check(&headers(own)).unwrap_or_else(|error| panic!("{own:?}: {error}"));
        }
        for foreign in [
            &[("host", "rag.example"), ("origin", "https://evil.example")][..],
            &[("host", "rag.example"), ("origin", "https://rag.example.evil.example")],
            &[("host", "rag.example"), ("origin", "https://rag.example:8443")],
            &[("host", "rag.example"), ("origin", "null")],
            &[("host", "rag.example"), ("origin", "file://rag.example")],
            &[("host", "rag.example"), ("origin", "")],
            &[("origin", "https://rag.example")],
            &[("host", "rag.example"), ("sec-fetch-site", "same-site")],
        ] {
            assert!(check(&headers(foreign)).is_err(), "{foreign:?}");
        }
    }

    #[test]
    fn cookies_come_back_over_tls_or_on_the_own_machine() {
        for kept in [
            &[("host", "localhost:8080")][..],
            &[("host", "LOCALHOST")],
            &[("host", "127.3.2.1:8080")],
            &[("host", "[::1]:8080")],
            &[("host", "rag.example"), ("x-forwarded-proto", "https")],
            &[("host", "rag.example"), ("origin", "https://rag.example")],
        ] {
            assert!(keeps_secure_cookies(&headers(kept)), "{kept:?}");
        }
        for lost in [
            &[("host", "rag.example")][..],
            &[("host", "192.168.1.4:8080")],
            &[("host", "127.0.0.1.evil.example")],
            &[("host", "notlocalhost")],
            &[("host", "rag.example"), ("x-forwarded-proto", "http")],
            &[],
        ] {
            assert!(!keeps_secure_cookies(&headers(lost)), "{lost:?}");
        }
    }
}
