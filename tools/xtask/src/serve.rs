//! A static file server for 127.0.0.1: right MIME types, Content-Length, one
//! byte range, text and wasm compressed, and the isolation headers when asked for.
//!
//! Not for the open net: it speaks plain HTTP and trusts whoever can connect.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom, Write, empty};
use std::net::TcpStream;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tiny_http::{Header, Method, Request, Response};

/// Requests served at the same time; a browser opens up to six connections.
const WORKERS: usize = 6;

/// What is served: folders of the repository by their own paths, so that a
/// page's relative addresses are the same on the disk and on the server.
pub struct Site {
    pub root: PathBuf,
    pub folders: Vec<&'static str>,
    /// Where `/` leads.
    pub home: &'static str,
    /// Send the headers that make a page cross-origin isolated.
    pub isolate: bool,
}

pub struct Server {
    pub address: String,
    inner: Arc<tiny_http::Server>,
}

impl Server {
    /// Starts serving on 127.0.0.1; port 0 takes any free one.
    pub fn start(site: Site, port: u16) -> Result<Server> {
        let inner = tiny_http::Server::http(("127.0.0.1", port))
            .map_err(|e| anyhow!("cannot listen on port {port}: {e}"))?;
        let bound = inner.server_addr().to_ip().map_or(port, |address| address.port());
        let (inner, site) = (Arc::new(inner), Arc::new(site));
        for _ in 0..WORKERS {
            let (inner, site) = (inner.clone(), site.clone());
            thread::spawn(move || {
                while let Ok(request) = inner.recv() {
                    answer(&site, request);
                }
            });
        }
        keep_awake(Arc::downgrade(&inner), bound);
        Ok(Server { address: format!("http://127.0.0.1:{bound}"), inner })
    }
}

/// Knocks now and then. tiny_http 0.12 counts a thread that it has just woken as one that still waits:
/// of two connections that come at once, the second can be left lying until some other one ends, which
/// a browser's may never do. The next connection takes it along.
fn keep_awake(server: Weak<tiny_http::Server>, port: u16) {
    thread::spawn(move || {
        while server.strong_count() > 0 {
            thread::sleep(Duration::from_millis(100));
            // A server that is just ending does not answer; then the loop ends, too.
            let _ = TcpStream::connect(("127.0.0.1", port));
        }
    });
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes each worker once; it then sees an error and ends.
        (0..WORKERS).for_each(|_| self.inner.unblock());
    }
}

fn answer(site: &Site, request: Request) {
    // A visitor who goes away in the middle of an answer is no error.
    let _ = match find(site, request.url()) {
        Found::File(path) => send_file(site, request, &path),
        Found::Home => {
            let moved = Response::empty(302).with_header(header("Location", site.home));
            request.respond(moved)
        }
        Found::Nothing => {
            let text = format!("no such file: {}\n", request.url());
            request.respond(Response::from_string(text).with_status_code(404))
        }
    };
}

enum Found {
    File(PathBuf),
    Home,
    Nothing,
}

/// The file that an address names, if it lies in a served folder.
fn find(site: &Site, url: &str) -> Found {
    let path = url.split(['?', '#']).next().unwrap_or("");
    let Some(path) = percent_decoded(path) else { return Found::Nothing };
    let below = path.trim_start_matches('/');
    if below.is_empty() {
        return Found::Home;
    }
    // Only plain names: no `..`, no drive, no second root.
    let plain = Path::new(below).components().all(|part| matches!(part, Component::Normal(_)));
    let served = site.folders.iter().any(|folder| Path::new(below).starts_with(folder));
    if !plain || !served {
        return Found::Nothing;
    }
    let mut file = site.root.join(below);
    if file.is_dir() {
        // Without the slash, the page's relative addresses would be one folder off.
        if !path.ends_with('/') {
            return if format!("{path}/") == site.home { Found::Home } else { Found::Nothing };
        }
        file.push("index.html");
    }
    if file.is_file() { Found::File(file) } else { Found::Nothing }
}

fn percent_decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| char::from(b?).to_digit(16);
        bytes.push((digit(rest.next())? * 16 + digit(rest.next())?) as u8);
    }
    String::from_utf8(bytes).ok()
}

fn send_file(site: &Site, request: Request, path: &Path) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut headers = vec![
        header("Content-Type", mime(path)),
        header("Accept-Ranges", "bytes"),
        header("Cache-Control", "no-cache"),
    ];
    if site.isolate {
        headers.push(header("Cross-Origin-Opener-Policy", "same-origin"));
        headers.push(header("Cross-Origin-Embedder-Policy", "require-corp"));
    }
    let asked = request
        .headers()
        .iter()
        .find(|h| h.field.equiv("Range"))
        .and_then(|h| range(h.value.as_str(), size));
    let (status, start, length) = match asked {
        None => match Encoding::of(&request).filter(|_| compresses(path)) {
            Some(encoding) => return send_compressed(request, headers, file, encoding),
            None => (200, 0, size),
        },
        Some(Err(())) => {
            headers.push(header("Content-Range", &format!("bytes */{size}")));
            return request.respond(Response::new(416.into(), headers, empty(), Some(0), None));
        }
        Some(Ok((start, end))) => {
            headers.push(header("Content-Range", &format!("bytes {start}-{end}/{size}")));
            (206, start, end - start + 1)
        }
    };
    file.seek(SeekFrom::Start(start))?;
    let body: Box<dyn Read + Send> = if *request.method() == Method::Head {
        Box::new(empty())
    } else {
        Box::new(file.take(length))
    };
    let response = Response::new(status.into(), headers, body, Some(length as usize), None);
    // Always a Content-Length, never chunks: a page shows progress by it.
    request.respond(response.with_chunked_threshold(usize::MAX))
}

/// How a web server would send text and wasm.
#[derive(Clone, Copy)]
enum Encoding {
    Brotli,
    Gzip,
}

impl Encoding {
    /// The best one that the browser names (RFC 9110, section 12.5.3, without its weights).
    fn of(request: &Request) -> Option<Self> {
        let accepted = request.headers().iter().find(|h| h.field.equiv("Accept-Encoding"))?;
        let names = |name| accepted.value.as_str().split([',', ' ']).any(|word| word == name);
        if names("br") { Some(Encoding::Brotli) } else { names("gzip").then_some(Encoding::Gzip) }
    }
}

fn compresses(path: &Path) -> bool {
    let kind = mime(path);
    kind.starts_with("text/")
        || ["application/wasm", "application/json", "image/svg+xml"].contains(&kind)
}

fn send_compressed(
    request: Request,
    mut headers: Vec<Header>,
    mut file: File,
    encoding: Encoding,
) -> std::io::Result<()> {
    let mut plain = Vec::new();
    file.read_to_end(&mut plain)?;
    let (name, body) = match encoding {
        Encoding::Brotli => ("br", brotli_of(&plain)?),
        Encoding::Gzip => ("gzip", gzip_of(&plain)?),
    };
    headers.push(header("Content-Encoding", name));
    headers.push(header("Vary", "Accept-Encoding"));
    let length = body.len();
    let body: Box<dyn Read + Send> = if *request.method() == Method::Head {
        Box::new(empty())
    } else {
        Box::new(Cursor::new(body))
    };
    let response = Response::new(200.into(), headers, body, Some(length), None);
    request.respond(response.with_chunked_threshold(usize::MAX))
}

/// At a quality that a request can wait for; `cargo xtask sizes` measures the best.
fn brotli_of(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let params = brotli::enc::BrotliEncoderParams { quality: 9, ..Default::default() };
    let mut out = Vec::new();
    brotli::BrotliCompress(&mut &plain[..], &mut out, &params)?;
    Ok(out)
}

fn gzip_of(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// First and last byte of a `Range` header; an error when it cannot be met,
/// None when it is of a form that may be ignored (RFC 9110, section 14.2).
fn range(value: &str, size: u64) -> Option<Result<(u64, u64), ()>> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let count: u64 = last.parse().ok()?;
        return Some(if count == 0 || size == 0 {
            Err(())
        } else {
            Ok((size.saturating_sub(count), size - 1))
        });
    }
    let first: u64 = first.parse().ok()?;
    let last = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
    if last < first {
        return None;
    }
    Some(if first < size { Ok((first, last.min(size - 1))) } else { Err(()) })
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("names and values here are plain ASCII")
}

fn mime(path: &Path) -> &'static str {
    match path.extension().and_then(|ext| ext.to_str()).unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn ranges() {
        assert_eq!(range("bytes=0-9", 100), Some(Ok((0, 9))));
        assert_eq!(range("bytes=90-", 100), Some(Ok((90, 99))));
        assert_eq!(range("bytes=90-1000", 100), Some(Ok((90, 99))));
        assert_eq!(range("bytes=-10", 100), Some(Ok((90, 99))));
        assert_eq!(range("bytes=-1000", 100), Some(Ok((0, 99))));
        assert_eq!(range("bytes=100-", 100), Some(Err(())));
        assert_eq!(range("bytes=-0", 100), Some(Err(())));
        assert_eq!(range("bytes=0-", 0), Some(Err(())));
        assert_eq!(range("bytes=9-0", 100), None);
        assert_eq!(range("bytes=0-1,3-4", 100), None);
        assert_eq!(range("lines=0-1", 100), None);
    }

    /// A site of one folder `web` in a new place.
    fn site(name: &str) -> Site {
        let root = std::env::temp_dir().join(format!("pagelm-serve-{}-{name}", std::process::id()));
        fs::create_dir_all(root.join("web")).unwrap();
        fs::write(root.join("web/index.html"), "<p>home").unwrap();
        fs::write(root.join("web/a b.wasm"), "0123456789").unwrap();
        fs::write(root.join("secret.txt"), "secret").unwrap();
        Site { root, folders: vec!["web"], home: "/web/", isolate: true }
    }

    fn get(server: &Server, request: &str) -> String {
        let mut stream = TcpStream::connect(server.address.trim_start_matches("http://")).unwrap();
        write!(stream, "{request}\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_file_and_a_part_of_it() {
        let site = site("file");
        let root = site.root.clone();
        let server = Server::start(site, 0).unwrap();
        let whole = get(&server, "GET /web/a%20b.wasm?v=1 HTTP/1.1");
        assert!(
            whole.starts_with("HTTP/1.1 200") && whole.ends_with("\r\n\r\n0123456789"),
            "{whole}"
        );
        assert!(
            whole.contains("Content-Type: application/wasm")
                && whole.contains("Content-Length: 10"),
            "{whole}"
        );
        assert!(whole.contains("Cross-Origin-Opener-Policy: same-origin"), "{whole}");
        let part = get(&server, "GET /web/a%20b.wasm HTTP/1.1\r\nRange: bytes=2-4");
        assert!(part.starts_with("HTTP/1.1 206") && part.ends_with("\r\n\r\n234"), "{part}");
        assert!(
            part.contains("Content-Range: bytes 2-4/10") && part.contains("Content-Length: 3"),
            "{part}"
        );
        let beyond = get(&server, "GET /web/a%20b.wasm HTTP/1.1\r\nRange: bytes=10-");
        assert!(beyond.starts_with("HTTP/1.1 416"), "{beyond}");
        let head = get(&server, "HEAD /web/a%20b.wasm HTTP/1.1");
        assert!(head.contains("Content-Length: 10") && head.ends_with("\r\n\r\n"), "{head}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn text_and_wasm_are_compressed_for_those_who_ask() {
        let site = site("compressed");
        let root = site.root.clone();
        let server = Server::start(site, 0).unwrap();
        let ask = |encodings: &str| {
            let request = format!("HEAD /web/ HTTP/1.1\r\nAccept-Encoding: {encodings}");
            get(&server, &request)
        };
        assert!(ask("gzip, deflate, br").contains("Content-Encoding: br"));
        assert!(ask("gzip, deflate").contains("Content-Encoding: gzip"));
        assert!(!ask("identity").contains("Content-Encoding"));
        let part = "GET /web/a%20b.wasm HTTP/1.1\r\nRange: bytes=2-4\r\nAccept-Encoding: br";
        assert!(get(&server, part).ends_with("\r\n\r\n234"));
        let plain = b"0123456789".repeat(9);
        let mut text = Vec::new();
        brotli::BrotliDecompress(&mut &brotli_of(&plain).unwrap()[..], &mut text).unwrap();
        assert_eq!(text, plain);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn home_and_what_is_not_served() {
        let site = site("home");
        let root = site.root.clone();
        let server = Server::start(site, 0).unwrap();
        assert!(get(&server, "GET / HTTP/1.1").contains("Location: /web/"));
        assert!(get(&server, "GET /web HTTP/1.1").contains("Location: /web/"));
        assert!(get(&server, "GET /web/ HTTP/1.1").ends_with("<p>home"));
        for hidden in [
            "/secret.txt",
            "/web/../secret.txt",
            "/web/%2e%2e/secret.txt",
            "/web//../secret.txt",
            "/web/none",
            "/webx",
            "/%zz",
        ] {
            let answer = get(&server, &format!("GET {hidden} HTTP/1.1"));
            assert!(answer.starts_with("HTTP/1.1 404"), "{hidden}: {answer}");
        }
        fs::remove_dir_all(root).unwrap();
    }
}
