//! The door: batches of lines come over HTTP, are parsed, made durable, acknowledged; then committed
//! to the lake in groups.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use fishweir_events::Stream;
use fishweir_ingest::{Delivery, Door, Group, Refused};
use serde::Serialize;
use tokio::sync::{Notify, Semaphore};

use crate::body::{OwnLines, Packing, packing, split, unpack};
use crate::keys::{Claim, Keys};
use crate::problem::Problem;
use crate::site::{Settings, Site, SiteError};
use crate::spool::{self, Accepted, Counts, Full, Part, Segment, Spool};

/// Doors are made anew this often: they know how far in the future an event may lie.
const DOORS_LIVE: Duration = Duration::from_secs(300);
/// Bytes a body may unpack to, as a multiple of the largest body.
const UNPACKED: usize = 16;
const UNPACKED_MAX: usize = 512 << 20;
const REFUSED_SHOWN: usize = 100;
const RETRY_S: u64 = 2;
/// Rows that make a group full before its time.
const GROUP_BYTES: usize = 96 << 20;
const SOURCE: &str = "fishweir";

/// What the sender of a batch is told.
#[derive(Debug, Serialize)]
pub(crate) struct Receipt {
    /// `rows = accepted + rejected`; rows that the lake already has are found when the batch is committed.
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// Whether this batch had been acknowledged before under its key.
    pub(crate) repeated: bool,
    /// The first refused rows.
    pub(crate) rejects: Vec<Told>,
    /// Refused rows that are not listed.
    pub(crate) rejects_left_out: usize,
}

/// A refused row.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    pub(crate) line: u64,
    pub(crate) reason: String,
}

/// Numbers of the door since the start.
#[derive(Debug, Default)]
pub(crate) struct DoorCounts {
    pub(crate) batches: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) pushed_back: AtomicU64,
    pub(crate) committed: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) last_commit_us: AtomicI64,
}

struct Doors {
    made: Instant,
    by_stream: BTreeMap<Stream, Arc<Door>>,
}

/// The door and what lies behind it.
pub(crate) struct Receiver {
    site: Arc<dyn Site>,
    spool: Spool,
    keys: Keys,
    doors: Mutex<Doors>,
    parsing: Semaphore,
    waiting_bytes: AtomicUsize,
    backlog_bytes: usize,
    body_bytes: usize,
    batch_number: AtomicU64,
    full: Notify,
    pub(crate) counts: DoorCounts,
    /// Takes accepted rows of `requests` to the detectors; never waits.
    pub(crate) watch: Option<crate::watch::Feed>,
    left: Mutex<Vec<Segment>>,
    seen: Mutex<BTreeMap<Stream, i64>>,
    /// Why the last commit failed, while it does.
    pub(crate) trouble: Mutex<Option<String>>,
    pub(crate) closing: AtomicBool,
}

impl Receiver {
    /// Returns a door over the queue's folder; what an earlier server left there is committed first.
    pub(crate) fn open(
        site: Arc<dyn Site>,
        settings: &Settings,
        watch: Option<crate::watch::Feed>,
    ) -> Result<Self, SiteError> {
        std::fs::create_dir_all(&settings.spool)?;
        let left = spool::left_over(&settings.spool)?;
        let now_us = site.now_us();
        let keys = Keys::open(&settings.spool, now_us)?;
        left.iter().flat_map(|s| &s.batches).for_each(|b| keys.settle(b));
        let mut random = [0u8; 6];
        getrandom::fill(&mut random).map_err(|e| e.to_string())?;
        let id: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Ok(Self {
            spool: Spool::open(&settings.spool, &id)?,
            site,
            keys,
            doors: Mutex::new(Doors { made: Instant::now(), by_stream: BTreeMap::new() }),
            parsing: Semaphore::new(threads),
            waiting_bytes: AtomicUsize::new(0),
            backlog_bytes: settings.backlog_bytes,
            body_bytes: settings.body_bytes,
            batch_number: AtomicU64::new(0),
            full: Notify::new(),
            counts: DoorCounts::default(),
            watch,
            left: Mutex::new(left),
            seen: Mutex::default(),
            trouble: Mutex::new(None),
            closing: AtomicBool::new(false),
        })
    }

    /// Returns when each stream last brought something since the start, microseconds.
    pub(crate) fn last_seen(&self) -> BTreeMap<String, i64> {
        let seen = self.seen.lock().map(|s| s.clone()).unwrap_or_default();
        seen.into_iter().map(|(s, us)| (s.name().to_owned(), us)).collect()
    }

    /// Lets the next commit begin now.
    pub(crate) fn hurry(&self) {
        self.full.notify_one();
    }

    /// Returns when everything acknowledged before is in the lake, or when that takes too long.
    pub(crate) async fn settled(&self, longest: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < longest {
            if self.waiting_bytes() == 0 {
                return true;
            }
            self.hurry();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Takes a batch; returns when it is durable.
    pub(crate) async fn take(
        self: &Arc<Self>,
        stream: Option<Stream>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Receipt, Problem> {
        if self.closing.load(Ordering::Relaxed) {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping; send again"));
        }
        if self.waiting_bytes() > self.backlog_bytes {
            self.counts.pushed_back.fetch_add(1, Ordering::Relaxed);
            return Err(Problem::busy("too many rows wait to be committed; send again later", RETRY_S));
        }
        let key = idempotency_key(headers)?;
        let body_hash = blake3::hash(&body).to_hex()[..32].to_owned();
        if let Some(key) = &key {
            match self.keys.claim(key, &body_hash) {
                Claim::Ours => {}
                Claim::Done(counts) => {
                    self.counts.repeated.fetch_add(1, Ordering::Relaxed);
                    return Ok(Receipt { counts, repeated: true, rejects: Vec::new(), rejects_left_out: 0 });
                }
                Claim::InWork => {
                    let mut p = Problem::new(StatusCode::CONFLICT, "a batch with this key is being taken in");
                    p.retry_s = Some(1);
                    return Err(p);
                }
                Claim::Other => {
                    return Err(Problem::new(
                        StatusCode::UNPROCESSABLE_ENTITY,
                        "this idempotency key belongs to another batch; use a new key per batch",
                    ));
                }
            }
        }
        // WHY a task: a client that hangs up must not leave a batch half taken in.
        let (me, mine) = (Arc::clone(self), key.clone());
        let packing = packing(headers);
        let task = tokio::spawn(async move {
            let taken = me.keep(stream, key.clone(), body_hash, packing, body).await;
            if let (Err(_), Some(key)) = (&taken, &key) {
                me.keys.release(key);
            }
            taken
        });
        task.await.unwrap_or_else(|e| {
            mine.iter().for_each(|key| self.keys.release(key));
            Err(Problem::broken(&e))
        })
    }

    async fn keep(
        self: &Arc<Self>,
        stream: Option<Stream>,
        key: Option<String>,
        body: String,
        packing: Result<Packing, Problem>,
        bytes: Bytes,
    ) -> Result<Receipt, Problem> {
        let packing = packing?;
        let number = self.batch_number.fetch_add(1, Ordering::Relaxed);
        let batch_id = match &key {
            Some(key) => format!("k{}", &blake3::hash(key.as_bytes()).to_hex()[..16]),
            None => format!("{}-{number}", self.spool.writer()),
        };
        let permit = self.parsing.acquire().await.map_err(|e| Problem::broken(&e))?;
        let (me, id) = (Arc::clone(self), batch_id.clone());
        let parts = tokio::task::spawn_blocking(move || me.parse(stream, &id, packing, &bytes))
            .await
            .map_err(|e| Problem::broken(&e))??;
        drop(permit);
        let sum = |f: fn(&Part) -> u64| parts.iter().map(f).sum::<u64>();
        let accepted = sum(|p| p.batches.iter().map(|b| b.num_rows() as u64).sum());
        let rejected = sum(|p| p.refused.len() as u64);
        let counts = Counts { rows: accepted + rejected, accepted, rejected };
        let receipt = receipt(counts, &parts);
        let at_us = self.site.now_us();
        let batch = Accepted { batch_id, key, body, at_us, counts, parts };
        self.store(batch).await?;
        self.counts.batches.fetch_add(1, Ordering::Relaxed);
        self.counts.accepted.fetch_add(accepted, Ordering::Relaxed);
        self.counts.rejected.fetch_add(rejected, Ordering::Relaxed);
        Ok(receipt)
    }

    async fn store(&self, batch: Accepted) -> Result<(), Problem> {
        let bytes = batch.bytes();
        let seen: Vec<_> = batch
            .parts
            .iter()
            .filter(|p| p.stream == Stream::Requests)
            .flat_map(|p| p.batches.clone())
            .collect();
        let streams: Vec<Stream> =
            batch.parts.iter().filter(|p| !p.batches.is_empty()).map(|p| p.stream).collect();
        let settled = Accepted { parts: Vec::new(), ..batch.clone() };
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Err(e) = self.spool.keep(batch).await {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, e.to_string()));
        }
        self.keys.settle(&settled);
        if let Ok(mut last) = self.seen.lock() {
            last.extend(streams.into_iter().map(|s| (s, settled.at_us)));
        }
        if let Some(watch) = &self.watch {
            seen.into_iter().for_each(|rows| watch.give(rows));
        }
        if waiting > GROUP_BYTES {
            self.full.notify_one();
        }
        Ok(())
    }

    fn door(&self, stream: Stream) -> Result<Arc<Door>, Problem> {
        let mut doors = self.doors.lock().map_err(|e| Problem::broken(&e))?;
        if doors.made.elapsed() > DOORS_LIVE {
            *doors = Doors { made: Instant::now(), by_stream: BTreeMap::new() };
        }
        if let Some(door) = doors.by_stream.get(&stream) {
            return Ok(Arc::clone(door));
        }
        let door = Door::new(&self.site.door()?, stream).map_err(|e| Problem::broken(&e))?;
        let door = Arc::new(door);
        doors.by_stream.insert(stream, Arc::clone(&door));
        Ok(door)
    }

    fn parse(
        &self,
        stream: Option<Stream>,
        batch_id: &str,
        packing: Packing,
        body: &[u8],
    ) -> Result<Vec<Part>, Problem> {
        let limit = (self.body_bytes * UNPACKED).min(UNPACKED_MAX);
        let mut lines = unpack(packing, body, limit)?;
        if lines.is_empty() {
            return Err(Problem::bad("the batch is empty\nhint: one JSON object per line"));
        }
        if !lines.ends_with(b"\n") {
            lines.push(b'\n');
        }
        let mut parts = Vec::new();
        let by_stream = match stream {
            Some(stream) => BTreeMap::from([(stream, OwnLines::whole(lines))]),
            None => {
                let (by_stream, unknown) = split(&lines);
                if !unknown.is_empty() {
                    parts.push(Part {
                        stream: Stream::Requests,
                        batches: Vec::new(),
                        own_ids: false,
                        refused: unknown,
                    });
                }
                by_stream
            }
        };
        for (stream, mut lines) in by_stream {
            let bytes = std::mem::take(&mut lines.bytes);
            let mut taken = self.door(stream)?.take(&format!("{batch_id}-{stream}"), bytes);
            taken.refused.iter_mut().for_each(|r| lines.place(r));
            parts.push(Part {
                stream,
                batches: taken.batches,
                own_ids: taken.own_ids,
                refused: taken.refused,
            });
        }
        Ok(parts)
    }

    /// Commits what is waiting, again and again; returns when the server closes and nothing waits.
    pub(crate) async fn deliver(self: Arc<Self>, every: Duration) {
        let mut delivery = match self.site.lake() {
            Ok(lake) => Delivery::new(lake, SOURCE),
            Err(e) => {
                self.tell(Some(e.to_string()));
                return;
            }
        };
        let left = self.left.lock().map(|mut l| std::mem::take(&mut *l)).unwrap_or_default();
        for s in left {
            if s.torn_bytes > 0 {
                eprintln!(
                    "`{}` ended in {} bytes that were not acknowledged",
                    s.path.display(),
                    s.torn_bytes
                );
            }
            let full = Full { path: s.path, number: s.number, batches: s.batches };
            self.deliver_one(&mut delivery, &s.writer, full).await;
        }
        loop {
            let closing = self.closing.load(Ordering::Relaxed);
            if !closing {
                tokio::select! {
                    () = tokio::time::sleep(every) => {}
                    () = self.full.notified() => {}
                }
            }
            match self.spool.rotate().await {
                Ok(Some(full)) => {
                    let writer = self.spool.writer().to_owned();
                    self.deliver_one(&mut delivery, &writer, full).await;
                }
                Ok(None) if closing => return,
                Ok(None) => {}
                Err(e) => {
                    self.tell(Some(e.to_string()));
                    return;
                }
            }
        }
    }

    // Tries until it works: what was acknowledged is owed.
    async fn deliver_one(&self, delivery: &mut Delivery, writer: &str, full: Full) {
        let bytes: usize = full.batches.iter().map(Accepted::bytes).sum();
        let mut pause = Duration::from_millis(500);
        while let Err(e) = self.commit(delivery, writer, &full).await {
            self.tell(Some(e.to_string()));
            if self.closing.load(Ordering::Relaxed) && pause > Duration::from_secs(4) {
                eprintln!("`{}` stays on disk and is committed at the next start", full.path.display());
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(30));
        }
        self.tell(None);
        let _ = self
            .waiting_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |b| Some(b.saturating_sub(bytes)));
    }

    async fn commit(&self, delivery: &mut Delivery, writer: &str, full: &Full) -> Result<(), SiteError> {
        let now_us = self.site.now_us();
        let mut streams: BTreeMap<Stream, Joined> = BTreeMap::new();
        for b in &full.batches {
            for p in &b.parts {
                let all = streams.entry(p.stream).or_default();
                all.batches.extend(p.batches.iter().cloned());
                all.own_ids |= p.own_ids;
                all.refused.extend(p.refused.iter().map(|r| (b.batch_id.clone(), r.clone())));
            }
        }
        let writer = format!("http/{writer}");
        for (stream, all) in &streams {
            let group = Group {
                writer: &writer,
                number: full.number,
                stream: *stream,
                batches: &all.batches,
                own_ids: all.own_ids,
                refused: &all.refused,
            };
            let came = delivery.commit(&group, now_us).await?;
            self.counts.committed.fetch_add(came.accepted, Ordering::Relaxed);
            self.counts.duplicates.fetch_add(came.duplicates, Ordering::Relaxed);
        }
        self.keys.log(&full.batches, now_us)?;
        std::fs::remove_file(&full.path)?;
        self.counts.last_commit_us.store(now_us, Ordering::Relaxed);
        Ok(())
    }

    fn tell(&self, trouble: Option<String>) {
        if let Some(t) = &trouble {
            eprintln!("accepted rows wait on disk: {t}");
        }
        if let Ok(mut known) = self.trouble.lock() {
            *known = trouble;
        }
    }
}

#[derive(Default)]
struct Joined {
    batches: Vec<arrow::record_batch::RecordBatch>,
    own_ids: bool,
    refused: Vec<(String, Refused)>,
}

fn receipt(counts: Counts, parts: &[Part]) -> Receipt {
    let refused = || parts.iter().flat_map(|p| &p.refused);
    let rejects =
        refused().take(REFUSED_SHOWN).map(|r| Told { line: r.line, reason: r.reason.clone() }).collect();
    let rejects_left_out = refused().count().saturating_sub(REFUSED_SHOWN);
    Receipt { counts, repeated: false, rejects, rejects_left_out }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text.is_empty() || text.len() > 200 {
        return Err(Problem::bad("Idempotency-Key must hold 1 to 200 visible ASCII characters"));
    }
    Ok(Some(text.to_owned()))
}
