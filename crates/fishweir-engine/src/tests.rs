//! Invariants of the sketch functions, through SQL and directly.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use proptest::prelude::*;

use crate::{Engine, EngineConfig, GroupSketch, Hll, Kll, PinnedTable, Theta, TopK, Value};

fn engine(memory_bytes: usize) -> Engine {
    Engine::new(&EngineConfig { memory_bytes, threads: 2, spill_dir: None }).unwrap()
}

async fn numbers(engine: &Engine, sql: &str) -> Vec<Option<f64>> {
    let context = engine.session([]).unwrap();
    let mut out = Vec::new();
    for batch in context.sql(sql).await.unwrap().collect().await.unwrap() {
        for row in 0..batch.num_rows() {
            for column in batch.columns() {
                let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Float64).unwrap();
                out.push(column.as_primitive::<Float64Type>().iter().nth(row).unwrap());
            }
        }
    }
    out
}

fn made<S: GroupSketch>(values: &[u32]) -> Option<Vec<u8>> {
    let mut shared = S::Shared::default();
    let mut s = S::empty(S::SIZE).unwrap();
    for v in values {
        s.update(&mut shared, Value::Str(&format!("client-{v}")));
        s.update(&mut shared, Value::Float(f64::from(*v)));
    }
    s.to_bytes(&shared).unwrap()
}

fn text<S: GroupSketch>(values: &[u32]) -> Option<Vec<u8>> {
    let mut shared = S::Shared::default();
    let mut s = S::empty(S::SIZE).unwrap();
    values.iter().for_each(|v| s.update(&mut shared, Value::Str(&format!("client-{v}"))));
    s.to_bytes(&shared).unwrap()
}

fn merged<S: GroupSketch>(parts: &[Option<Vec<u8>>]) -> Option<Vec<u8>> {
    let mut s = S::empty(S::SIZE).unwrap();
    parts.iter().flatten().for_each(|p| s.merge(p).unwrap());
    s.to_bytes(&S::Shared::default()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    // INVARIANT: merging parts in any order estimates what one sketch of everything estimates.
    #[test]
    fn distinct_counts_do_not_depend_on_the_cut_or_the_order(
        values in prop::collection::vec(0u32..5_000, 0..4_000),
        cuts in prop::collection::vec(1usize..400, 1..8),
    ) {
        let mut parts: Vec<Option<Vec<u8>>> = Vec::new();
        let mut rest = &values[..];
        for c in &cuts {
            let (head, tail) = rest.split_at((*c).min(rest.len()));
            parts.push(text::<Hll>(head));
            rest = tail;
        }
        parts.push(text::<Hll>(rest));
        let forward = merged::<Hll>(&parts);
        parts.reverse();
        let backward = merged::<Hll>(&parts);
        let exact = values.iter().collect::<HashSet<_>>().len() as f64;
        match (forward, backward) {
            (None, None) => prop_assert_eq!(exact, 0.0),
            (Some(a), Some(b)) => {
                let (a, b) = (Hll::count(&a).unwrap(), Hll::count(&b).unwrap());
                prop_assert!((a - b).abs() < 1e-6 * a.max(1.0), "{} {}", a, b);
                prop_assert!((a / exact - 1.0).abs() < 0.05, "{} of {}", a, exact);
                let (low, high) = Hll::bounds(&text::<Hll>(&values).unwrap()).unwrap();
                prop_assert!(low <= high);
            }
            _ => prop_assert!(false, "one order has values and the other has none"),
        }
    }

    // INVARIANT: a quantile of merged parts lies within the sketch's rank error.
    #[test]
    fn quantiles_stay_within_the_rank_error(values in prop::collection::vec(0u32..100_000, 1..3_000), cut in 0usize..3_000) {
        let (a, b) = values.split_at(cut.min(values.len()));
        let all = merged::<Kll>(&[made::<Kll>(a), made::<Kll>(b)]).unwrap();
        for rank in [0.05, 0.5, 0.95] {
            let q = Kll::quantile(&all, rank).unwrap().unwrap();
            let below = values.iter().filter(|v| f64::from(**v) < q).count() as f64 / values.len() as f64;
            let upto = values.iter().filter(|v| f64::from(**v) <= q).count() as f64 / values.len() as f64;
            prop_assert!(below - 0.03 <= rank && rank <= upto + 0.03, "{} not in {}..{}", rank, below, upto);
            let (low, high) = Kll::bounds(&all, rank).unwrap().unwrap();
            prop_assert!(low <= q && q <= high);
        }
    }

    // INVARIANT: bounds of heavy hitters hold the true counts.
    #[test]
    fn heavy_hitters_have_true_bounds(values in prop::collection::vec(0u32..400, 0..3_000), cut in 0usize..3_000) {
        let (a, b) = values.split_at(cut.min(values.len()));
        let Some(all) = merged::<TopK>(&[text::<TopK>(a), text::<TopK>(b)]) else {
            prop_assert!(values.is_empty());
            return Ok(());
        };
        for (item, _, low, high) in TopK::items(&all).unwrap() {
            let n = values.iter().filter(|v| format!("client-{v}") == item).count() as u64;
            prop_assert!(low <= n && n <= high, "{}: {} not in {}..{}", item, n, low, high);
        }
    }
}

#[test]
fn empty_single_and_broken_sketches() {
    assert_eq!(text::<Hll>(&[]), None);
    assert_eq!(text::<Theta>(&[]), None);
    assert_eq!(text::<TopK>(&[]), None);
    assert_eq!(made::<Kll>(&[]), None);
    assert_eq!(Hll::count(&text::<Hll>(&[7]).unwrap()).unwrap().round(), 1.0);
    assert_eq!(Kll::quantile(&made::<Kll>(&[7]).unwrap(), 0.5).unwrap(), Some(7.0));
    assert!(Hll::count(b"nonsense").is_err());
    assert!(
        Hll::empty(99).is_err()
            && Kll::empty(1).is_err()
            && Theta::empty(2).is_err()
            && TopK::empty(3).is_err()
    );
}

#[test]
fn bytes_are_those_of_raw_text_not_of_rust_framing() {
    // The same text as bytes must give the same sketch, as any other implementation hashes bytes.
    let mut a = Hll::empty(12).unwrap();
    let mut b = Hll::empty(12).unwrap();
    for v in 0..1000 {
        let s = format!("client-{v}");
        a.update(&mut (), Value::Str(&s));
        b.update(&mut (), Value::Bytes(s.as_bytes()));
    }
    let both = merged::<Hll>(&[a.to_bytes(&()).unwrap(), b.to_bytes(&()).unwrap()]).unwrap();
    let one = Hll::count(&a.to_bytes(&()).unwrap().unwrap()).unwrap();
    assert!((Hll::count(&both).unwrap() / one - 1.0).abs() < 0.06);
}

#[tokio::test]
async fn sql_functions_agree_with_exact_answers() {
    let e = engine(1 << 30);
    let series = "(SELECT value AS v, value % 3 AS g, CAST(value % 50000 AS VARCHAR) AS c FROM generate_series(1, 200000))";
    let got = numbers(&e, &format!("SELECT hll_count(hll(c)), hll_low(hll(c)), hll_high(hll(c)), theta_count(theta(c)), kll_quantile(kll(v), 0.95), kll_n(kll(v)) FROM {series}")).await;
    let got: Vec<f64> = got.into_iter().flatten().collect();
    assert!((got[0] / 50_000.0 - 1.0).abs() < 0.02 && got[1] < got[0] && got[0] < got[2], "{got:?}");
    assert!((got[3] / 50_000.0 - 1.0).abs() < 0.06, "{got:?}");
    assert!((got[4] / 190_000.0 - 1.0).abs() < 0.02 && got[5] == 200_000.0, "{got:?}");
    // Two levels of merging equal one level.
    let merged = numbers(
        &e,
        &format!("SELECT hll_count(hll_merge(h)) FROM (SELECT g, hll(c) AS h FROM {series} GROUP BY g)"),
    )
    .await;
    assert!((merged[0].unwrap() / 50_000.0 - 1.0).abs() < 0.02);
    // Sets.
    let sets = numbers(&e, &format!("SELECT theta_count(theta_and(a, b)), theta_count(theta_not(a, b)) FROM (SELECT theta(c) FILTER (WHERE v <= 30000) AS a, theta(c) FILTER (WHERE v > 20000 AND v < 50000) AS b FROM {series})")).await;
    assert!(
        (sets[0].unwrap() / 10_000.0 - 1.0).abs() < 0.12 && (sets[1].unwrap() / 20_000.0 - 1.0).abs() < 0.12,
        "{sets:?}"
    );
    // Nothing in, null out.
    let none = numbers(&e, "SELECT hll_count(hll(CAST(NULL AS VARCHAR))), kll_quantile(kll(CAST(NULL AS DOUBLE)), 0.5), hll_count(NULL)").await;
    assert_eq!(none, [None, None, None]);
}

#[tokio::test]
async fn groups_spill_within_a_small_limit_and_stay_right() {
    let sql = "SELECT count(*), sum(n), CAST(sum(hll_count(h)) AS DOUBLE) FROM (SELECT value % 60000 AS g, count(*) AS n, hll(CAST(value AS VARCHAR)) AS h, kll(value) AS k FROM generate_series(1, 300000) GROUP BY 1)";
    let roomy = numbers(&engine(4 << 30), sql).await;
    let tight = numbers(&engine(24 << 20), sql).await;
    assert_eq!(roomy[..2], [Some(60_000.0), Some(300_000.0)]);
    assert_eq!(tight[..2], roomy[..2]);
    assert!((tight[2].unwrap() / roomy[2].unwrap() - 1.0).abs() < 1e-6, "{tight:?} {roomy:?}");
}

#[tokio::test]
async fn wrong_arguments_are_explained() {
    let context = engine(1 << 28).session([]).unwrap();
    for (sql, words) in [
        ("SELECT hll_merge('x')", "merges sketches"),
        ("SELECT hll(1, 99)", "99"),
        ("SELECT kll_quantile(CAST('zz' AS BYTEA), 0.5)", "not a valid kll sketch"),
    ] {
        let error = match context.sql(sql).await {
            Err(e) => e.to_string(),
            Ok(frame) => frame.collect().await.unwrap_err().to_string(),
        };
        assert!(error.contains(words), "{sql}: {error}");
    }
}

#[test]
fn a_small_stored_sketch_is_kept_as_it_came_until_something_joins_it() {
    let one = text::<Hll>(&[1, 2, 3]);
    assert_eq!(merged::<Hll>(std::slice::from_ref(&one)), one);
    let count = |parts: &[Option<Vec<u8>>]| Hll::count(&merged::<Hll>(parts).unwrap()).unwrap().round();
    assert_eq!(count(&[one.clone(), one.clone()]), 3.0);
    assert_eq!(count(&[one.clone(), text::<Hll>(&[3, 4]), text::<Hll>(&[5])]), 5.0);
    // One value alone is not even read.
    let single = text::<Hll>(&[9]);
    assert_eq!(merged::<Hll>(std::slice::from_ref(&single)), single);
    assert_eq!(count(&[single.clone(), single.clone()]), 1.0);
    assert_eq!(count(&[single, one.clone()]), 4.0);
    // Values of its own beside it, and a sketch of another size.
    let mut s = Hll::empty(Hll::SIZE).unwrap();
    s.update(&mut (), Value::Str("client-9"));
    s.merge(one.as_ref().unwrap()).unwrap();
    assert_eq!(Hll::count(&s.to_bytes(&()).unwrap().unwrap()).unwrap().round(), 4.0);
    let mut smaller = Hll::empty(10).unwrap();
    smaller.merge(one.as_ref().unwrap()).unwrap();
    let bytes = smaller.to_bytes(&()).unwrap().unwrap();
    assert_eq!((bytes[3], Hll::count(&bytes).unwrap().round()), (10, 3.0), "as coarse as asked for");
    assert!(Hll::empty(Hll::SIZE).unwrap().merge(b"nonsense").is_err());
}

// INVARIANT: a query that has hardly any memory ends. An exchange that spilled stopped for ever here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_with_hardly_any_memory_ends() {
    let engine = engine(3 << 20);
    for attempt in 0..8 {
        let context = engine.session([]).unwrap();
        context.sql("SET datafusion.execution.batch_size = 64").await.unwrap();
        let made = "CREATE TABLE made AS SELECT v % 13 AS g, repeat(CAST(v % 337 AS VARCHAR), 9) AS id FROM generate_series(1, 40000) AS s(v)";
        context.sql(made).await.unwrap();
        let query = context.sql("SELECT g, count(DISTINCT id) AS n FROM made GROUP BY g").await.unwrap();
        let within = tokio::time::timeout(std::time::Duration::from_secs(30), query.collect()).await;
        let batches = within.unwrap_or_else(|_| panic!("attempt {attempt} stands still")).unwrap();
        assert_eq!(batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 13);
    }
}

// INVARIANT: a table without a file is a table without rows, whatever is asked of it.
#[tokio::test]
async fn a_table_without_files_can_be_sorted() {
    let fields = vec![Field::new("time", DataType::Int64, true), Field::new("name", DataType::Utf8, true)];
    let root = url::Url::parse("file:///nowhere/").unwrap();
    let none = PinnedTable::new(&root, Arc::new(Schema::new(fields)), None, Vec::new()).unwrap();
    let context = engine(64 << 20).session([("none".to_owned(), Arc::new(none) as _)]).unwrap();
    for sql in [
        "SELECT name FROM none ORDER BY time DESC LIMIT 3",
        "SELECT * FROM none ORDER BY 1",
        "SELECT name FROM none LIMIT 1",
    ] {
        let batches =
            context.sql(sql).await.unwrap().collect().await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 0);
    }
}
