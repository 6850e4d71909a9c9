//! The web page: files that are part of the program, and who may read them.
//!
//! Knows nothing of mail: the page asks for what it shows as any client does.
//! Invariants: a file needs nothing from elsewhere; a browser is answered only
//! where it was sent to this machine by name or number of its own loopback, so
//! that no other site's name can be bent to point here.

use std::net::IpAddr;

/// One file of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFile {
    /// Its path.
    pub path: &'static str,
    /// Its type.
    pub kind: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
}

/// What a browser may do with the page: nothing but what came with it.
pub const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! file {
    ($name:literal, $kind:expr) => {
        PageFile {
            path: concat!("/page/", $name),
            kind: $kind,
            bytes: include_bytes!(concat!("page/", $name)),
        }
    };
}

/// All files.
const FILES: &[PageFile] = &[
    PageFile { path: "/", kind: HTML, bytes: include_bytes!("page/index.html") },
    file!("style.css", STYLE),
    file!("app.js", SCRIPT),
    file!("ask.js", SCRIPT),
    file!("config.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("failures.js", SCRIPT),
    file!("format.js", SCRIPT),
    file!("mail.js", SCRIPT),
    file!("overview.js", SCRIPT),
    file!("plots.js", SCRIPT),
    file!("points.js", SCRIPT),
    file!("shape.js", SCRIPT),
    file!("site.js", SCRIPT),
    file!("sites.js", SCRIPT),
    file!("state.js", SCRIPT),
    file!("story.js", SCRIPT),
    file!("uPlot.iife.min.js", SCRIPT),
    file!("uPlot.min.css", STYLE),
    file!("icon.svg", "image/svg+xml"),
];

/// The file at a target, whatever query it has.
pub fn file(target: &str) -> Option<&'static PageFile> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    FILES.iter().find(|file| file.path == path)
}

/// Whether a `Host` field names this machine's loopback, with any port: a
/// tunnel ends at one of its own.
pub fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_their_paths_and_nothing_else_is() {
        assert_eq!(file("/").map(|file| file.kind), Some(HTML));
        assert_eq!(file("/?x=1").map(|file| file.kind), Some(HTML));
        assert_eq!(file("/page/app.js").map(|file| file.kind), Some(SCRIPT));
        for none in ["", "/page", "/page/", "/page/../app.js", "//", "/v1/status"] {
            assert_eq!(file(none), None, "{none}");
        }
        for file in FILES {
            assert!(!file.bytes.is_empty(), "{}", file.path);
        }
    }

    /// The page works without anything from elsewhere, and has no script within
    /// its text: the content policy would stop both, without a word.
    ///
    /// Shows: A88
    #[test]
    fn nothing_in_the_page_comes_from_elsewhere() {
        let ours = FILES.iter().filter(|file| !file.path.contains("uPlot"));
        for file in ours {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for mark in ["http:", "https:", "innerHTML", "outerHTML", "insertAdjacent", "eval("] {
                let namespace = text.matches("http://www.w3.org/2000/svg").count();
                let allowed = if mark == "http:" { namespace } else { 0 };
                assert_eq!(text.matches(mark).count(), allowed, "{}: {mark}", file.path);
            }
            for mark in [" style=\"", " onclick=", " onload="] {
                assert!(!text.contains(mark), "{}: {mark}", file.path);
            }
        }
        let page = std::str::from_utf8(FILES[0].bytes).unwrap();
        assert!(
            page.split("<script").skip(1).all(|tag| tag.starts_with(" type=\"module\" src=\"/")
                || tag.starts_with(" src=\"/page/"))
        );
        // What the page names is there.
        for part in page.split("=\"/page/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(file(&format!("/page/{name}")).is_some(), "{name}");
        }
    }

    #[test]
    fn only_loopback_is_a_host_of_ours() {
        for ours in [
            "localhost",
            "LocalHost:8025",
            "127.0.0.1",
            "127.0.0.1:8025",
            "127.8.9.1:1",
            "[::1]",
            "[::1]:8025",
        ] {
            assert!(is_loopback_host(ours), "{ours}");
        }
        for other in [
            "",
            ":8025",
            "mail.example",
            "localhost.example:8025",
            "127.0.0.1.example",
            "192.0.2.1:8025",
            "[::2]:1",
            "[::1",
            "::1",
        ] {
            assert!(!is_loopback_host(other), "{other}");
        }
    }
}
