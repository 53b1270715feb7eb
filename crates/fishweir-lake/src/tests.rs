use std::sync::Arc;

use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use fishweir_events::{Interval, utc_microseconds};
use futures::StreamExt as _;

use crate::{Append, BatchStream, Commit, Lake, Table, TableSpec};

fn spec() -> TableSpec {
    TableSpec {
        name: "t".into(),
        schema: Arc::new(Schema::new(vec![
            Field::new("time", utc_microseconds(), false),
            Field::new("n", DataType::Int64, true),
            Field::new("s", DataType::Utf8View, true),
        ])),
        time_column: Some("time".into()),
    }
}

fn batch(times: impl IntoIterator<Item = i64>) -> RecordBatch {
    let times: Vec<i64> = times.into_iter().collect();
    let n = Int64Array::from(times.clone());
    let s: StringArray = times.iter().map(|t| Some(format!("row {t}"))).collect();
    let time = TimestampMicrosecondArray::from(times).with_timezone("UTC");
    let schema = Schema::new(vec![
        Field::new("time", utc_microseconds(), false),
        Field::new("n", DataType::Int64, true),
        Field::new("s", DataType::Utf8, true),
    ]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(time), Arc::new(n), Arc::new(s)]).unwrap()
}

fn stream(b: RecordBatch) -> BatchStream<'static> {
    futures::stream::iter([Ok(b)]).boxed()
}

fn at(app: &str, version: i64) -> [Commit; 1] {
    let after = if app == "a" && version % 10 == 0 { version - 10 } else { version - 1 };
    [Commit { app: app.into(), after, version }]
}

async fn times(t: &mut Table) -> Vec<i64> {
    t.refresh().await.unwrap();
    let mut out = Vec::new();
    for f in t.files().unwrap() {
        for b in t.read_file(&f).await.unwrap() {
            let column = b.column_by_name("n").unwrap();
            out.extend(column.as_any().downcast_ref::<Int64Array>().unwrap().values());
        }
    }
    out.sort_unstable();
    out
}

fn lake() -> (tempfile::TempDir, Lake) {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open(dir.path().to_str().unwrap(), Default::default()).unwrap();
    (dir, lake)
}

#[tokio::test]
async fn the_same_commit_happens_once() {
    let (_dir, lake) = lake();
    let mut t = lake.table(&spec()).await.unwrap();
    assert_eq!(t.append(&[batch(0..10)], &at("a", 10)).await.unwrap(), Append::Added);
    assert_eq!(t.append(&[batch(0..10)], &at("a", 10)).await.unwrap(), Append::AlreadyThere);
    let mut stale = lake.table(&spec()).await.unwrap();
    assert_eq!(t.append(&[batch(10..20)], &at("a", 20)).await.unwrap(), Append::Added);
    assert_eq!(stale.append(&[batch(10..20)], &at("a", 20)).await.unwrap(), Append::AlreadyThere);
    assert_eq!(stale.append(&[batch(20..30)], &at("b", 1)).await.unwrap(), Append::Added);
    let gap = [Commit { app: "b".into(), after: 5, version: 9 }];
    let moved = Append::Moved { index: 0, at: 1 };
    assert_eq!(stale.append(&[batch(30..40)], &gap).await.unwrap(), moved);
    assert_eq!(times(&mut t).await, (0..30).collect::<Vec<_>>());
    assert_eq!(lake.table_names().await.unwrap(), ["t"]);
}

#[tokio::test]
async fn replace_is_idempotent_and_keeps_the_rest() {
    let (_dir, lake) = lake();
    let mut t = lake.table(&spec()).await.unwrap();
    t.append(&[batch(0..100)], &at("a", 1)).await.unwrap();
    let hole = [Interval::new(20, 40)];
    for _ in 0..3 {
        let c = t.replace(&hole, stream(batch([25, 26, 39]))).await.unwrap();
        assert_eq!(c.rows_added, 3);
        let mut want: Vec<i64> = (0..20).chain([25, 26, 39]).chain(40..100).collect();
        want.sort_unstable();
        assert_eq!(times(&mut t).await, want);
    }
    let e = t.replace(&hole, stream(batch([41]))).await.unwrap_err().to_string();
    assert!(e.contains("outside the replaced interval"), "{e}");
}

#[tokio::test]
async fn delete_removes_files_from_storage_and_compaction_changes_no_row() {
    let (dir, lake) = lake();
    let mut t = lake.table(&spec()).await.unwrap();
    for i in 0..6 {
        t.append(&[batch(i * 10..i * 10 + 10)], &at("a", i + 1)).await.unwrap();
    }
    let change = t.delete(&[Interval::new(0, 15), Interval::new(50, 60)]).await.unwrap();
    assert_eq!(change.rows_removed, 25);
    let all = times(&mut t).await;
    let change = t.compact(i64::MAX).await.unwrap();
    assert_eq!((change.rows_added, change.rows_removed), (35, 35));
    assert_eq!(times(&mut t).await, all);
    let left = std::fs::read_dir(dir.path().join("t")).unwrap();
    let left = left.filter(|e| e.as_ref().unwrap().path().extension().is_some()).count();
    assert_eq!(left, 1, "one data file is left on disk");
}

#[tokio::test]
async fn writers_that_race_lose_nothing() {
    let (_dir, lake) = lake();
    lake.table(&spec()).await.unwrap();
    let mut tasks = Vec::new();
    for writer in 0..3i64 {
        let lake = lake.clone();
        tasks.push(tokio::spawn(async move {
            let mut t = lake.table(&spec()).await.unwrap();
            for i in 0..8 {
                let first = writer * 1000 + i;
                t.append(&[batch([first])], &at(&format!("w{writer}"), i + 1)).await.unwrap();
                let hole = [Interval::new(5000 + writer, 5001 + writer)];
                t.replace(&hole, stream(batch([5000 + writer]))).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut t = lake.table(&spec()).await.unwrap();
    let want: Vec<i64> = (0..3).flat_map(|w| (0..8).map(move |i| w * 1000 + i)).chain(5000..5003).collect();
    assert_eq!(times(&mut t).await, want);
}

#[tokio::test]
async fn files_nobody_committed_go_when_they_are_old() {
    let (dir, lake) = lake();
    let mut t = lake.table(&spec()).await.unwrap();
    t.append(&[batch(0..10)], &at("a", 1)).await.unwrap();
    let orphan = dir.path().join("t/part-of-a-dead-writer.zstd.parquet");
    std::fs::write(&orphan, b"half a file").unwrap();
    assert_eq!(t.sweep_orphans(0).await.unwrap(), 0, "younger than the grace");
    assert!(orphan.exists());
    assert_eq!(t.sweep_orphans(i64::MAX).await.unwrap(), 1);
    assert!(!orphan.exists());
    assert_eq!(times(&mut t).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_column_of_a_later_version_is_added_and_null_in_older_rows() {
    let (_dir, lake) = lake();
    let mut old = lake.table(&spec()).await.unwrap();
    old.append(&[batch(0..3)], &at("w", 1)).await.unwrap();
    let mut wider = spec();
    let mut fields = wider.schema.fields().to_vec();
    fields.insert(1, Arc::new(Field::new("extra", DataType::Float64, false)));
    wider.schema = Arc::new(Schema::new(fields));
    let mut new = lake.table(&wider).await.unwrap();
    assert_eq!(times(&mut new).await, [0, 1, 2]);
    for f in new.files().unwrap() {
        let rows = &new.read_file(&f).await.unwrap()[0];
        assert_eq!(rows.column_by_name("extra").unwrap().null_count(), 3);
    }
    // Who still runs the older version goes on reading and writing.
    let mut again = lake.table(&spec()).await.unwrap();
    again.append(&[batch(3..5)], &at("w", 2)).await.unwrap();
    assert_eq!(times(&mut again).await, [0, 1, 2, 3, 4]);
    let mut other = spec();
    other.schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Utf8, true)]));
    let refused = lake.table(&other).await.unwrap_err().to_string();
    assert!(refused.contains("`n`") && refused.contains("another version"), "{refused}");
}
