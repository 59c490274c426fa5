//! What each path answers. Pure: a request and what the agent counts, to an answer.

use std::fmt::Write;
use std::sync::Arc;

use http::{Method, Request};
use serde_json::{Value, json};

use super::flume;
use super::prometheus::{self, Format};
use crate::telemetry::{Incident, Incidents, Ledger, Readiness, report};
use crate::time::Wall;
use crate::wire::http::{Answer, accept_weight};

/// What the endpoint may look at.
#[derive(Clone)]
pub struct Board {
    pub ledger: Arc<Ledger>,
    pub incidents: Arc<Incidents>,
    pub readiness: Arc<Readiness>,
}

/// Whose paths are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Site {
    /// All of ours.
    #[default]
    Flumen,
    /// Flume's `monitoring.type=http`: its JSON at `/metrics`, and nothing else but a page.
    Flume,
}

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Index,
    Metrics,
    FlumeMetrics,
    Health,
    Ready,
    Ledger,
    Incidents,
    FlumeIndex,
}

/// Path, page, and what the index says about it.
const FLUMEN_PAGES: [(&str, Page, &str); 7] = [
    ("/", Page::Index, "this page"),
    ("/metrics", Page::Metrics, "Prometheus text, OpenMetrics when asked"),
    ("/flume/metrics", Page::FlumeMetrics, "the JSON of Flume's http reporter"),
    ("/healthz", Page::Health, "the process is alive"),
    ("/readyz", Page::Ready, "data can move, or why not"),
    ("/ledger", Page::Ledger, "every count and equation, JSON"),
    ("/incidents", Page::Incidents, "faults and how long they lasted, JSON"),
];
const FLUME_PAGES: [(&str, Page, &str); 2] =
    [("/", Page::FlumeIndex, "this page"), ("/metrics", Page::FlumeMetrics, "all metrics, JSON")];

impl Site {
    fn pages(self) -> &'static [(&'static str, Page, &'static str)] {
        match self {
            Self::Flumen => &FLUMEN_PAGES,
            Self::Flume => &FLUME_PAGES,
        }
    }
}

/// Answers one request. HEAD is answered as GET; the connection leaves the body out.
pub fn answer(site: Site, request: &Request<()>, board: &Board) -> Answer {
    let path = request.uri().path();
    let Some((_, page, _)) = site.pages().iter().find(|(known, _, _)| *known == path) else {
        return Answer::text(404, "404: no such page; / lists them\n");
    };
    let of_flume = matches!(page, Page::FlumeMetrics | Page::FlumeIndex);
    if of_flume && [Method::TRACE, Method::OPTIONS].contains(request.method()) {
        // As Flume's own endpoint answers.
        return Answer::text(403, "403: not allowed here\n");
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let answer = Answer::text(405, "405: GET and HEAD only\n");
        return Answer { allow: Some("GET, HEAD"), ..answer };
    }
    match page {
        Page::Index => Answer::new(200, HTML, index(board)),
        Page::FlumeIndex => Answer::new(200, HTML, flume_index()),
        Page::Metrics => metrics(request, board),
        Page::FlumeMetrics => Answer::new(200, JSON, flume::metrics(&board.ledger.snapshot())),
        Page::Health => Answer::text(200, "ok\n"),
        Page::Ready => ready(board),
        Page::Ledger => json_answer(&report::json(&board.ledger.settled())),
        Page::Incidents => json_answer(&incidents(&board.incidents.list())),
    }
}

fn metrics(request: &Request<()>, board: &Board) -> Answer {
    let weight = |media| accept_weight(request.headers(), media);
    let open = weight("application/openmetrics-text");
    // Without Accept, or with */*, both weigh the same: then it is the older format.
    let format = if open > weight("text/plain") { Format::OpenMetrics } else { Format::Text };
    let text = prometheus::exposition(&board.ledger.snapshot(), format);
    Answer::new(200, format.content_type(), text)
}

fn ready(board: &Board) -> Answer {
    let reasons = board.readiness.reasons();
    if reasons.is_empty() {
        return Answer::text(200, "ready\n");
    }
    Answer::text(503, reasons.join("\n") + "\n")
}

fn json_answer(value: &Value) -> Answer {
    let text = serde_json::to_string_pretty(value).expect("maps with string keys are JSON");
    Answer::new(200, JSON, text + "\n")
}

fn incidents(list: &[Incident]) -> Value {
    let incidents = list.iter().rev().map(|incident| {
        json!({
            "number": incident.number,
            "component": incident.component,
            "what": incident.what,
            "blocks": incident.blocks,
            "began": rfc3339(incident.began),
            "ended": incident.ended.map(|(wall, _)| rfc3339(wall)),
            "seconds": incident.ended.map(|(_, lasted)| lasted.as_secs_f64()),
            "times": incident.times,
        })
    });
    json!({ "incidents": incidents.collect::<Vec<_>>() })
}

/// UTC with milliseconds: `2026-01-02T03:04:05.678Z`.
fn rfc3339(wall: Wall) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(wall.0))
        .map_or_else(|_| wall.0.to_string(), |timestamp| format!("{timestamp:.3}"))
}

fn index(board: &Board) -> String {
    let snapshot = board.ledger.settled();
    let mut page = page_head(&format!("flumen {}", snapshot.agent));
    let reasons = board.readiness.reasons();
    if reasons.is_empty() {
        page.push_str("<p>ready</p>\n");
    } else {
        let reasons = html(&reasons.join("\n"));
        write!(page, "<p>not ready:</p>\n<pre>{reasons}</pre>\n").expect("a String");
    }
    writeln!(page, "<pre>{}</pre>", html(&report::table(&snapshot))).expect("a String");
    page_links(&mut page, &FLUMEN_PAGES);
    page
}

fn flume_index() -> String {
    let mut page = page_head("Flume metrics");
    page_links(&mut page, &FLUME_PAGES);
    page
}

fn page_head(title: &str) -> String {
    let title = html(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         </head><body>\n<h1>{title}</h1>\n"
    )
}

fn page_links(page: &mut String, pages: &[(&str, Page, &str)]) {
    page.push_str("<ul>\n");
    for (path, _, about) in &pages[1..] {
        writeln!(page, "<li><a href=\"{path}\">{path}</a> {about}</li>").expect("a String");
    }
    page.push_str("</ul>\n</body></html>\n");
}

/// Names come from a configuration and fault texts from the outside: nothing of them is markup.
fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Phase;
    use crate::time::{Mono, Now};

    fn board() -> Board {
        let mut builder = Ledger::builder("<edge>");
        builder.source("net").worker().received_events.add(3);
        builder.sink("archive", "main").worker();
        let incidents = Incidents::new();
        let readiness = Arc::new(Readiness::new(incidents.clone()));
        readiness.enter(Phase::Running);
        Board { ledger: builder.build(), incidents, readiness }
    }

    fn ask(site: Site, method: &str, path: &str, accept: &str, board: &Board) -> Answer {
        let request = Request::builder().method(method).uri(path).header("accept", accept);
        answer(site, &request.body(()).expect("valid"), board)
    }

    fn get(path: &str, board: &Board) -> (u16, String) {
        let answer = ask(Site::Flumen, "GET", path, "*/*", board);
        (answer.status, String::from_utf8(answer.body).expect("UTF-8"))
    }

    #[test]
    fn every_listed_page_answers() {
        let board = board();
        for site in [Site::Flumen, Site::Flume] {
            for (path, _, _) in site.pages() {
                assert_eq!(ask(site, "GET", path, "*/*", &board).status, 200, "{path}");
                assert_eq!(ask(site, "POST", path, "*/*", &board).status, 405, "{path}");
            }
            assert_eq!(ask(site, "GET", "/metrics/", "*/*", &board).status, 404);
        }
        assert_eq!(ask(Site::Flumen, "GET", "/metrics?x=y", "*/*", &board).status, 200);
        assert_eq!(ask(Site::Flume, "GET", "/ledger", "*/*", &board).status, 404);
    }

    #[test]
    fn flume_forbids_trace_and_options() {
        let board = board();
        for method in ["TRACE", "OPTIONS"] {
            assert_eq!(ask(Site::Flumen, method, "/flume/metrics", "", &board).status, 403);
            assert_eq!(ask(Site::Flume, method, "/metrics", "", &board).status, 403);
            assert_eq!(ask(Site::Flumen, method, "/metrics", "", &board).status, 405);
        }
    }

    #[test]
    fn the_format_is_negotiated() {
        let board = board();
        let kind = |accept| ask(Site::Flumen, "GET", "/metrics", accept, &board).content_type;
        assert_eq!(kind("*/*"), Format::Text.content_type());
        assert_eq!(kind(""), Format::Text.content_type());
        assert_eq!(kind("text/html"), Format::Text.content_type());
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
        assert_eq!(kind(prometheus), Format::OpenMetrics.content_type());
    }

    #[test]
    fn readiness_names_every_reason() {
        let board = board();
        assert_eq!(get("/readyz", &board), (200, "ready\n".to_owned()));
        let mut watch = board.incidents.watch("sink archive");
        watch.blocked(Now { mono: Mono(0), wall: Wall(0) }, "No space left on device");
        let (status, body) = get("/readyz", &board);
        assert_eq!((status, body.as_str()), (503, "sink archive: No space left on device\n"));
        assert_eq!(get("/healthz", &board), (200, "ok\n".to_owned()));
        watch.recovered(Now { mono: Mono(2_500_000_000), wall: Wall(1_500_000_000_678_000_000) });
        assert_eq!(get("/readyz", &board).0, 200);
        let json: Value = serde_json::from_str(&get("/incidents", &board).1).expect("JSON");
        let incident = &json["incidents"][0];
        assert_eq!(incident["began"], "1970-01-01T00:00:00.000Z");
        assert_eq!(incident["ended"], "2017-07-14T02:40:00.678Z");
        assert_eq!(incident["seconds"], 2.5);
    }

    #[test]
    fn nothing_from_outside_is_markup() {
        let board = board();
        board.incidents.watch("sink a").blocked(Now::default(), "<script>\"&\"</script>");
        let (_, body) = get("/", &board);
        assert!(body.contains("&lt;script&gt;&quot;&amp;&quot;&lt;/script&gt;"), "{body}");
        assert!(!body.contains("<script") && !body.contains("<edge>"), "{body}");
        assert!(body.contains("href=\"/ledger\""), "{body}");
    }

    #[test]
    fn the_ledger_is_json() {
        let json: Value = serde_json::from_str(&get("/ledger", &board()).1).expect("JSON");
        assert_eq!(json["adds_up"], false, "3 received and nothing routed");
        assert_eq!(json["sources"][0]["received_events"], 3);
    }
}
