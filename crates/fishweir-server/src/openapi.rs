//! The description of the API, generated from one list.

use serde_json::{Map, Value, json};

/// A parameter of an address: name, where, what it says.
type Parameter = (&'static str, &'static str, &'static str);

struct Call {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    body: Option<&'static str>,
    /// Content type of a good answer.
    gives: &'static str,
    /// Status of a good answer.
    status: &'static str,
}

const PERIOD: [Parameter; 3] = [
    ("period", "query", "2026, 2026-10, 2026-W40, 2026-10-05, 28d or 2026-10-01..2026-10-15"),
    ("from", "query", "First time, with `to`"),
    ("to", "query", "End, with `from`"),
];
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

const fn get(path: &'static str, summary: &'static str, parameters: &'static [Parameter]) -> Call {
    Call { method: "get", path, summary, parameters, body: None, gives: JSON, status: "200" }
}

const DOOR: &str = "Take a batch of events, one JSON object per line, plain, gzip or zstd (Content-Encoding). Answered when the batch is durable. 409: a batch with this key is being taken in. 422: the key belongs to another batch. 429: wait as long as Retry-After says.";
const KEY: Parameter = (
    "Idempotency-Key",
    "header",
    "1 to 200 characters. The same batch under the same key within a day is acknowledged again and stored once",
);

const CALLS: &[Call] = &[
    Call {
        method: "post",
        path: "/api/v1/events",
        summary: DOOR,
        parameters: &[KEY],
        body: Some(LINES),
        gives: JSON,
        status: "200",
    },
    Call {
        method: "post",
        path: "/api/v1/events/{stream}",
        summary: DOOR,
        parameters: &[KEY, ("stream", "path", "Stream of every line")],
        body: Some(LINES),
        gives: JSON,
        status: "200",
    },
    get("/api/v1/metrics", "Every metric definition.", &[]),
    get(
        "/api/v1/metrics/{name}",
        "Values of a metric with interval, n, coverage, label source and maturity; an unknown value is null with a reason.",
        &[
            ("name", "path", "Metric"),
            PERIOD[0],
            PERIOD[1],
            PERIOD[2],
            ("grain", "query", "hour, day, week, month, year or whole"),
            ("by", "query", "Dimension to split by"),
            ("of", "query", "Only this member of the dimension"),
            ("format", "query", "json, csv or parquet"),
        ],
    ),
    get(
        "/api/v1/incidents",
        "Incidents that began in a period (`items`), with what is sealed of it; `all` adds surges that were no attack.",
        &[PERIOD[0], PERIOD[1], PERIOD[2], ("all", "query", "Any value")],
    ),
    get(
        "/api/v1/incidents/{id}",
        "One incident with minutes, drivers, patterns, rules, cost, similar ones.",
        &[("id", "path", "Incident")],
    ),
    get("/api/v1/rules", "Rules of the defences with precision, recall, members hit and advice.", &PERIOD),
    get(
        "/api/v1/takeovers",
        "Accounts that somebody else may control.",
        &[PERIOD[0], PERIOD[1], PERIOD[2], ("all", "query", "Any value")],
    ),
    get("/api/v1/takeovers/{id}", "The story of one takeover.", &[("id", "path", "Takeover or account")]),
    get("/api/v1/campaigns", "Campaigns of attempts to sign in.", &PERIOD),
    get("/api/v1/campaigns/{id}", "The story of one campaign.", &[("id", "path", "Campaign")]),
    Call {
        method: "post",
        path: "/api/v1/verdicts",
        summary: "Say what an incident or an episode was: subject_kind, subject, verdict, reviewer, reason.",
        parameters: &[],
        body: Some(JSON),
        gives: JSON,
        status: "202",
    },
    get("/api/v1/live", "Live rates, what is usual, and what is open.", &[]),
    Call {
        gives: "text/event-stream",
        ..get("/api/v1/live/stream", "What the live path says, as server-sent events named `said`.", &[])
    },
    get("/healthz", "200 while events can be taken in and kept, else 503 with the reasons.", &[]),
    Call {
        gives: "text/plain",
        ..get("/metrics", "Own health and headline metrics in the Prometheus text format.", &[])
    },
];

fn call(c: &Call) -> Value {
    let parameters: Vec<Value> = c
        .parameters
        .iter()
        .map(|(name, place, about)| {
            json!({"name": name, "in": place, "required": *place == "path", "description": about, "schema": {"type": "string"}})
        })
        .collect();
    let mut out = json!({
        "summary": c.summary,
        "parameters": parameters,
        "responses": {
            (c.status): {"description": "Done", "content": {(c.gives): {"schema": {}}}},
            "default": {"description": "What went wrong and what to do", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        },
    });
    if let Some(kind) = c.body {
        out["requestBody"] = json!({"required": true, "content": {(kind): {"schema": {}}}});
    }
    out
}

/// Returns the OpenAPI 3.1 description of the API as JSON text.
#[must_use]
pub fn description() -> String {
    let mut paths: Map<String, Value> = Map::new();
    for c in CALLS {
        paths.entry(c.path).or_insert_with(|| json!({}))[c.method] = call(c);
    }
    let all = json!({
        "openapi": "3.1.0",
        "info": {"title": "Fishweir", "version": env!("CARGO_PKG_VERSION"), "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": {"type": "object", "required": ["title", "status", "detail"], "properties": {
                "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"},
            }}},
        },
    });
    serde_json::to_string_pretty(&all).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_description_is_the_present_one() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let committed = std::fs::read_to_string(file).unwrap_or_default();
        assert_eq!(
            committed.trim(),
            super::description(),
            "docs/openapi.json is old: `fishweir serve --openapi > docs/openapi.json`"
        );
    }
}
