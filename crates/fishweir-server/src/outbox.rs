//! Messages that are owed: each lies in a file until its destination took it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::alert_rules::{Destination, DestinationKind};

const PAUSE_MIN_US: i64 = 2_000_000;
const PAUSE_MAX_US: i64 = 900_000_000;
/// A message that nobody took for this long is put aside.
const GIVEN_UP_US: i64 = 3 * 86_400_000_000;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A message to a destination.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Same for the same message, whatever happens: receivers can tell repeats.
    pub(crate) id: String,
    pub(crate) to: String,
    pub(crate) body: Value,
    pub(crate) made_us: i64,
    #[serde(default)]
    pub(crate) tries: u32,
    #[serde(default)]
    pub(crate) not_before_us: i64,
}

/// The messages on disk.
pub(crate) struct Outbox {
    folder: PathBuf,
    destinations: Vec<Destination>,
    client: reqwest::Client,
    waiting: AtomicUsize,
}

impl Outbox {
    pub(crate) fn open(folder: &Path, destinations: Vec<Destination>) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(io::Error::other)?;
        let out = Self { folder: folder.to_owned(), destinations, client, waiting: AtomicUsize::new(0) };
        out.waiting.store(out.list()?.len(), Ordering::Relaxed);
        Ok(out)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Keeps a message; one with the same id and destination that waits already is left as it is.
    pub(crate) fn put(&self, m: &Message) -> io::Result<()> {
        let path = self.path(m);
        if path.exists() {
            return Ok(());
        }
        self.write(m)?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn path(&self, m: &Message) -> PathBuf {
        let name = blake3::hash(format!("{}/{}", m.to, m.id).as_bytes()).to_hex();
        self.folder.join(format!("{:020}-{}.json", m.made_us, &name[..16]))
    }

    fn write(&self, m: &Message) -> io::Result<()> {
        let path = self.path(m);
        let draft = path.with_extension("draft");
        let mut file = fs::File::create(&draft)?;
        file.write_all(&serde_json::to_vec(m)?)?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        fs::File::open(&self.folder)?.sync_all()
    }

    fn list(&self) -> io::Result<Vec<PathBuf>> {
        let all = fs::read_dir(&self.folder)?.filter_map(|e| Some(e.ok()?.path()));
        let mut out: Vec<PathBuf> = all.filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
        out.sort();
        Ok(out)
    }

    /// Tries to deliver everything that is due, oldest first.
    pub(crate) async fn flush(&self, now_us: i64) {
        let Ok(all) = self.list() else { return };
        for path in all {
            let read =
                fs::read(&path).and_then(|b| serde_json::from_slice::<Message>(&b).map_err(Into::into));
            let Ok(mut m) = read else {
                let _ = fs::rename(&path, path.with_extension("unreadable"));
                continue;
            };
            if m.not_before_us > now_us {
                continue;
            }
            match self.send(&m).await {
                Ok(()) => self.done(&path, None),
                Err(cause) if now_us - m.made_us > GIVEN_UP_US => {
                    eprintln!("alert {} for `{}` is given up: {cause}", m.id, m.to);
                    self.done(&path, Some("dead"));
                }
                Err(cause) => {
                    if m.tries == 0 {
                        eprintln!("alert {} for `{}` waits: {cause}", m.id, m.to);
                    }
                    let pause = PAUSE_MIN_US.saturating_mul(1 << m.tries.min(20)).min(PAUSE_MAX_US);
                    m.tries += 1;
                    m.not_before_us = now_us + pause;
                    let _ = self.write(&m);
                }
            }
        }
    }

    fn done(&self, path: &Path, aside: Option<&str>) {
        let gone = match aside {
            Some(ending) => fs::rename(path, path.with_extension(ending)),
            None => fs::remove_file(path),
        };
        if gone.is_ok() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn send(&self, m: &Message) -> Result<(), String> {
        if m.to == "stdout" {
            println!("{}", line(&m.body));
            return Ok(());
        }
        let Some(d) = self.destinations.iter().find(|d| d.name == m.to) else {
            return Err("no destination has this name any more".to_owned());
        };
        if d.kind == DestinationKind::Stdout {
            println!("{}", line(&m.body));
            return Ok(());
        }
        let url = match (&d.url, &d.url_env) {
            (Some(url), _) => url.clone(),
            (None, Some(name)) => {
                std::env::var(name).map_err(|_| format!("environment variable `{name}` is not set"))?
            }
            (None, None) => return Err("the destination has neither `url` nor `url_env`".to_owned()),
        };
        let body = match d.kind {
            DestinationKind::Slack => json!({ "text": line(&m.body) }),
            _ => m.body.clone(),
        };
        let sent = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("idempotency-key", &m.id)
            .body(body.to_string())
            .send()
            .await;
        // The address may be a secret: it stays out of messages.
        let answer = sent.map_err(|e| e.without_url().to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status())) }
    }
}

/// Returns a message in one paragraph.
fn line(body: &Value) -> String {
    let text = |k: &str| body[k].as_str().unwrap_or_default().to_owned();
    let mut out = format!("[{}] {} {}: {}", text("severity"), text("state"), text("title"), text("text"));
    for (name, k) in [("What to do", "action"), ("More", "link")] {
        if !text(k).is_empty() {
            out.push_str(&format!("\n{name}: {}", text(k)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_waits_until_it_is_taken_and_goes_once() {
        let dir = tempfile::tempdir().unwrap();
        let to = Destination {
            name: "hook".to_owned(),
            kind: DestinationKind::Webhook,
            url: Some("http://127.0.0.1:1/none".to_owned()),
            url_env: None,
        };
        let m = Message {
            id: "a".to_owned(),
            to: "hook".to_owned(),
            body: json!({"title": "t"}),
            made_us: 1,
            tries: 0,
            not_before_us: 0,
        };
        let outbox = Outbox::open(dir.path(), vec![to.clone()]).unwrap();
        outbox.put(&m).unwrap();
        outbox.put(&m).unwrap();
        assert_eq!(outbox.waiting(), 1);
        outbox.flush(1_000_000).await;
        // A new process finds it, with a pause before the next try.
        let again = Outbox::open(dir.path(), vec![to]).unwrap();
        assert_eq!(again.waiting(), 1);
        let kept: Message = serde_json::from_slice(&fs::read(&again.list().unwrap()[0]).unwrap()).unwrap();
        assert_eq!((kept.tries, kept.not_before_us), (1, 1_000_000 + PAUSE_MIN_US));
    }
}
