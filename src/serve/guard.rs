//! Who may ask: requests that other pages send through somebody's browser are refused, and those without the token.

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, ORIGIN, REFERRER_POLICY, SET_COOKIE,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::app::App;
use super::error::{ApiError, ApiResult};
use super::settings::Settings;
use crate::base::markup::escaped;

/// Only what this server sends is run, shown or asked.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
                      worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Admits authorised requests, and sets the security headers of every response.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_data = ["/api", "/metrics"].iter().any(|start| request.uri().path().starts_with(start));
    let answer = match admitted(&app.settings, request.method(), request.uri(), request.headers()) {
        Ok(None) => next.run(request).await,
        Ok(Some(redirect)) => redirect,
        Err(fault) => fault.into_response(),
    };
    with_policies(answer, is_data)
}

fn with_policies(mut answer: Response, is_data: bool) -> Response {
    let status = answer.status();
    let headers = answer.headers_mut();
    let policies = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (RESOURCE_POLICY, "same-origin"),
        (OPENER_POLICY, "same-origin"),
    ];
    for (name, value) in policies {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let cache = if is_data { "no-store" } else { "no-cache" };
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static(cache));
    answer
}

/// Whether a request may ask; with the token in its address, the answer that turns it into a cookie.
fn admitted(settings: &Settings, method: &Method, uri: &Uri, headers: &HeaderMap) -> ApiResult<Option<Response>> {
    let host = check_host(settings, uri, headers)?;
    check_origin(host, method, headers)?;
    let Some(token) = &settings.access.token else { return Ok(None) };
    if is_shown(token, settings.port, headers) {
        return Ok(None);
    }
    match token_in(uri).filter(|_| method == Method::GET && !uri.path().starts_with("/api")) {
        Some(given) if is_same(given.as_bytes(), token.as_bytes()) => Ok(Some(with_cookie(token, settings.port, uri))),
        _ => Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "the token is missing or wrong: open the address that segtool serve printed, or send the header Authorization: \
             Bearer TOKEN",
        )),
    }
}

/// The name by which the server is called, which must be one of its own: pages of other names that were made to point here
/// (DNS rebinding) would otherwise be taken for this server's.
fn check_host<'a>(settings: &Settings, uri: &'a Uri, headers: &'a HeaderMap) -> ApiResult<&'a str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let host = host.ok_or_else(|| ApiError::bad_request("the request needs one header Host"))?;
    if uri.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host)) {
        return Err(ApiError::bad_request("the address of the request and its header Host differ"));
    }
    let name = name_of(host);
    let own = ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| own.eq_ignore_ascii_case(name));
    let bound = !settings.host.is_unspecified()
        && (name == settings.host.to_string() || name == format!("[{}]", settings.host));
    let allowed = settings.access.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    if own || bound || allowed {
        return Ok(host);
    }
    let text = format!(
        "{name} is not a known name of this server; to allow it, start segtool serve with --allow-host {name}",
        name = name.chars().filter(|c| c.is_ascii_graphic()).take(100).collect::<String>()
    );
    Err(ApiError::new(StatusCode::FORBIDDEN, text))
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Refuses what pages of other servers ask for.
fn check_origin(host: &str, method: &Method, headers: &HeaderMap) -> ApiResult<()> {
    let refuse = || {
        let text = "the request comes from a page of another server, which may not use this one";
        Err(ApiError::new(StatusCode::FORBIDDEN, text))
    };
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let own = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
        if !own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
            return refuse();
        }
    }
    let is_safe = matches!(*method, Method::GET | Method::HEAD);
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    if !is_safe && matches!(site, Some("cross-site" | "same-site")) {
        return refuse();
    }
    Ok(())
}

/// Whether a request shows the token, as a header or as the cookie.
fn is_shown(token: &str, port: u16, headers: &HeaderMap) -> bool {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, given) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| given.trim())
    });
    let name = cookie_name(port);
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(';'));
    let cookie = cookies.filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| *key == name);
    let given = bearer.map(str::as_bytes).into_iter().chain(cookie.map(|(_, given)| given.as_bytes()));
    given
        .fold(false, |shown, given| shown | is_same(given, token.as_bytes()) | is_same(given, digest(token).as_bytes()))
}

/// Compares in a time that tells nothing of where they differ, nor of how long the token is.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    Sha256::digest(given).as_slice().ct_eq(Sha256::digest(token).as_slice()).into()
}

/// What stands for the token in the cookie, so that a browser does not store the token itself.
fn digest(token: &str) -> String {
    let digest = Sha256::digest(format!("segtool serve {token}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Browsers share cookies between the ports of a host.
fn cookie_name(port: u16) -> String {
    format!("segtool-{port}")
}

fn token_in(uri: &Uri) -> Option<String> {
    let query = uri.query()?;
    let given = query.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    percent_decoded(given)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        };
        bytes.push(decoded);
    }
    String::from_utf8(bytes).ok()
}

/// Sends a browser on to the page without the token, which it keeps as a cookie that no script reads. By a page of its own: after
/// a redirect, a browser that came from another site would not show the cookie.
fn with_cookie(token: &str, port: u16, uri: &Uri) -> Response {
    let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", cookie_name(port), digest(token));
    // The path of a request that has two slashes in front would be the address of another server.
    let path = format!("/{}", uri.path().trim_start_matches('/'));
    let path = escaped(&path);
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta http-equiv=\"refresh\" content=\"0;url={path}\"><title>segtool</title>\
         <a href=\"{path}\">Open segtool</a></html>"
    );
    let mut answer = Html(page).into_response();
    let headers = answer.headers_mut();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        headers.insert(SET_COOKIE, cookie);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::settings::{Access, Compute, Limits};

    fn settings(host: &str, token: Option<&str>, hosts: &[&str]) -> Settings {
        Settings {
            runs: vec!["run".into()],
            label: None,
            host: host.parse().unwrap(),
            port: 5000,
            access: Access {
                token: token.map(str::to_owned),
                insecure: false,
                hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            },
            allow_url: false,
            compute: Compute::default(),
            limits: Limits::default(),
        }
    }

    /// The status of a request that is not let through; 0 of one that is.
    fn status(settings: &Settings, method: Method, uri: &str, headers: &[(&'static str, &str)]) -> u16 {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        match admitted(settings, &method, &uri.parse().unwrap(), &headers) {
            Ok(None) => 0,
            Ok(Some(answer)) => answer.status().as_u16(),
            Err(fault) => fault.status.as_u16(),
        }
    }

    #[test]
    fn only_names_of_the_server_are_answered() {
        let settings = settings("10.1.2.3", None, &["gpu.example.org"]);
        let of = |host: &str| status(&settings, Method::GET, "/", &[("host", host)]);
        for own in ["localhost", "localhost:8000", "127.0.0.1:5000", "[::1]:5000", "10.1.2.3:5000", "GPU.example.org"] {
            assert_eq!(of(own), 0, "{own}");
        }
        for other in ["example.org", "evil.org:5000", "localhost.evil.org", "127.0.0.1.evil.org", "10.1.2.4", "::1", ""]
        {
            assert_eq!(of(other), 403, "{other}");
        }
        assert_eq!(status(&settings, Method::GET, "/", &[]), 400);
        assert_eq!(status(&settings, Method::GET, "/", &[("host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(status(&settings, Method::GET, "http://evil.org/", &[("host", "localhost")]), 400);
    }

    #[test]
    fn pages_of_other_servers_are_refused() {
        let settings = settings("127.0.0.1", None, &[]);
        let host = ("host", "localhost:5000");
        let of = |method: Method, header| status(&settings, method, "/api/jobs", &[host, header]);
        assert_eq!(of(Method::POST, ("origin", "http://localhost:5000")), 0);
        for origin in
            ["http://localhost:3000", "http://evil.org", "null", "http://127.0.0.1:5000", "localhost:5000", ""]
        {
            assert_eq!(of(Method::POST, ("origin", origin)), 403, "{origin}");
            assert_eq!(of(Method::GET, ("origin", origin)), 403, "{origin}");
        }
        for (site, expected) in [("cross-site", 403), ("same-site", 403), ("same-origin", 0), ("none", 0)] {
            assert_eq!(of(Method::POST, ("sec-fetch-site", site)), expected, "{site}");
            assert_eq!(of(Method::GET, ("sec-fetch-site", site)), 0, "{site}");
        }
    }

    #[test]
    fn the_token_is_wanted_as_header_or_cookie() {
        let settings = settings("127.0.0.1", Some("secret-1"), &[]);
        let host = ("host", "localhost");
        let of = |uri: &str, header| status(&settings, Method::GET, uri, &[host, header]);
        let cookie = format!("a=b; segtool-5000={}; c", digest("secret-1"));
        for shown in [("authorization", "Bearer secret-1"), ("authorization", "bearer secret-1"), ("cookie", &cookie)] {
            assert_eq!(of("/api/jobs", shown), 0, "{shown:?}");
        }
        let other = format!("segtool-5001={}", digest("secret-1"));
        for wrong in [
            ("authorization", "Bearer secret-2"),
            ("authorization", "Bearer secret-"),
            ("authorization", "Basic secret-1"),
            ("authorization", "secret-1"),
            ("authorization", "Bearer "),
            ("cookie", "segtool-5000=x"),
            ("cookie", &other),
        ] {
            assert_eq!(of("/api/jobs", wrong), 401, "{wrong:?}");
        }
        let none = ("accept", "*/*");
        assert_eq!((of("/?token=secret-1", none), of("/?token=secret%2D1", none)), (200, 200));
        assert_eq!((of("/?token=secret", none), of("/api/models?token=secret-1", none)), (401, 401));
        assert_eq!(status(&settings, Method::POST, "/?token=secret-1", &[host]), 401);
    }

    #[test]
    fn the_way_on_stays_on_this_server() {
        let text = |uri: &str| {
            let body = with_cookie("t", 1, &uri.parse().unwrap()).into_body();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            String::from_utf8(runtime.block_on(axum::body::to_bytes(body, 1000)).unwrap().into()).unwrap()
        };
        assert!(text("//evil.org/?token=t").contains("content=\"0;url=/evil.org/\""));
        assert!(text("/a&b'?token=t").contains("0;url=/a&amp;b&#39;\""));
    }
}
