"""What the measurements share: peers, data, timing, printing."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
DATA = HERE / "data"
PEERS = ["duckdb", "polars", "chdb", "pyarrow", "numpy", "scikit-learn"]


def environment():
    """Re-runs the script inside the private environment, made on first use and when a peer is new."""
    venv = HERE / ".venv"
    python = venv / "bin" / "python"
    if pathlib.Path(sys.prefix).resolve() == venv.resolve():
        return
    ready, wanted = venv / "ready", " ".join(PEERS)
    if not ready.exists() or ready.read_text() != wanted:
        print("installing peers into bench/.venv", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEERS], check=True)
        ready.write_text(wanted)
    os.execv(str(python), [str(python), *sys.argv])


def build():
    """Builds the release binary and returns its path; FISHWEIR_BIN names one that is built already."""
    if os.environ.get("FISHWEIR_BIN"):
        return os.environ["FISHWEIR_BIN"]
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "release" / "fishweir")


WORLDS = DATA / "worlds"
STREAMS = ("requests", "logins", "playbacks", "account_changes", "contacts", "leaks", "verdicts", "health", "notes")


def world_scores(binary, scenario, seed):
    """Simulates a world once, ingests, runs and scores it without hand-holding; returns the scores by kind.

    World, project and scores stay in bench/data/worlds. Scores younger than the binary are not made again, and of a
    project that is there only what a newer binary computes otherwise; FRESH=1 makes projects and scores anew.
    """

    def run(*args):
        command = [binary, "--quiet", *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command[:6])} …\n{done.stderr}")
        return done.stdout

    WORLDS.mkdir(parents=True, exist_ok=True)
    world, project = WORLDS / f"{scenario}-{seed}", WORLDS / f"{scenario}-{seed}-project"
    scores = WORLDS / f"{scenario}-{seed}-scores.json"
    fresh = os.environ.get("FRESH") == "1"
    if not fresh and scores.exists() and scores.stat().st_mtime > os.stat(binary).st_mtime:
        return json.loads(scores.read_text())
    if not (world / "truth" / "manifest.json").exists():
        run("simulate", "--scenario", scenario, "--seed", seed, "--start", "2026-10-01", "--out", world)
    days = json.loads((world / "truth" / "manifest.json").read_text())["days"]
    now = f"2026-10-{days + 1:02d}T00:00:00Z" if days < 31 else "2027-12-31T00:00:00Z"
    ready = project / "ingested"
    if fresh or not ready.exists():
        shutil.rmtree(project, ignore_errors=True)
        run("init", "--project", project)
        files = [str(f) for s in STREAMS for f in sorted((world / "events" / s).rglob("*.parquet"))]
        run("--project", project, "--now", now, "ingest", "--source", "fishweir", *files)
        ready.write_text("ok")
    run("--project", project, "--now", now, "run")
    scores.write_text(run("--project", project, "--now", now, "score", "--truth", world / "truth", "--format", "json"))
    return json.loads(scores.read_text())


def all_worlds(binary, scenarios, seeds):
    """Yields scenario, seed and scores in order, JOBS worlds at a time (1 unless set)."""
    wanted = [(scenario, seed) for scenario in scenarios for seed in seeds]
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", 1))) as pool:
        for (scenario, seed), scores in zip(wanted, pool.map(lambda w: world_scores(binary, *w), wanted)):
            yield scenario, seed, scores


def rows(default=10_000_000):
    return int(os.environ.get("ROWS", default))


def repeats():
    return int(os.environ.get("REPEATS", 3))


def race(contestants):
    """Runs every contestant `repeats()` times, alternating; returns median seconds by name."""
    times = {name: [] for name in contestants}
    for turn in range(repeats()):
        for name, run in contestants.items():
            begun = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begun)
            print(f"  {name} run {turn + 1}: {times[name][-1]:.2f} s", file=sys.stderr)
    return {name: statistics.median(t) for name, t in times.items()}


def table(title, medians, ours, unit_rows=None):
    print(f"\n{title}")
    print(f"{'':28} {'median s':>9} {'M rows/s':>9} {'times ours':>11}")
    for name, seconds in sorted(medians.items(), key=lambda x: x[1]):
        rate = f"{unit_rows / seconds / 1e6:.2f}" if unit_rows else ""
        print(f"{name:28} {seconds:9.3f} {rate:>9} {seconds / medians[ours]:11.2f}")


def fishweir(binary, project, *args, now="2027-01-01", quiet=True):
    out = subprocess.run(
        [binary, "--project", str(project), "--now", now, *(["--quiet"] if quiet else []), *args],
        capture_output=True, text=True,
    )
    if out.returncode != 0:
        sys.exit(f"fishweir {' '.join(args)}\n{out.stderr}")
    return out.stdout


def query(binary, project, sql, now="2027-01-01"):
    return json.loads(fishweir(binary, project, "sql", "--format", "json", sql, now=now) or "[]")


def requests_parquet(path, n, days, clients=200_000, routes=30, seed=7):
    """Writes n requests over `days` days from 2026-01-01 as Parquet with canonical names."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    start = np.datetime64("2026-01-01T00:00:00", "us").astype("int64")
    writer = None
    step = 1_000_000
    client_names = np.array([f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}" for i in range(clients)])
    route_names = np.array([f"/route{i}" for i in range(routes)])
    actions = np.array(["allow", "block", "challenge"])
    for first in range(0, n, step):
        k = min(step, n - first)
        t = start + ((first + np.sort(rng.random(k)) * k) / n * days * 86_400e6).astype("int64")
        client = (clients * rng.power(0.6, k)).astype("int64") % clients
        route = (routes * rng.random(k) ** 2.2).astype("int64")
        action = rng.choice(3, k, p=[0.94, 0.05, 0.01])
        latency = rng.lognormal(10, 0.9, k).astype("int64")
        batch = pa.table({
            "time": pa.array(t, pa.timestamp("us", "UTC")),
            "service": pa.array(np.full(k, "web")),
            "method": pa.array(np.full(k, "GET")),
            "path": pa.array(route_names[route]),
            "route": pa.array(route_names[route]),
            "status": pa.array(np.where(rng.random(k) < 0.01, 500, 200), pa.int32()),
            "latency_us": pa.array(latency),
            "bytes": pa.array(rng.integers(200, 40_000, k)),
            "ip": pa.array(client_names[client]),
            "action": pa.array(actions[action]),
            "mode": pa.array(np.full(k, "enforce")),
        })
        writer = writer or pq.ParquetWriter(path, batch.schema, compression="zstd", compression_level=1)
        writer.write_table(batch, row_group_size=131_072)
    writer.close()


def project_with(binary, name, files, then=()):
    """Returns a project that holds the files, made once."""
    project = DATA / f"project-{name}"
    if not (project / "ready").exists():
        print(f"ingesting into {project.name}", file=sys.stderr)
        fishweir(binary, project, "init")
        fishweir(binary, project, "ingest", "--source", "fishweir", *map(str, files))
        for step in then:
            fishweir(binary, project, step)
        (project / "ready").write_text("ok")
    return project
