// Draws the charts of a page with a cursor and a legend; the picture from the server stays where
// anything is missing.
import uPlot from "uplot";

interface Line {
  name: string;
  class: string;
  values: (number | null)[];
}

interface Data {
  title: string;
  unit: string;
  bars: boolean;
  times: number[];
  lines: Line[];
  band: [(number | null)[], (number | null)[]] | null;
  marks: { at: number; label: string }[];
}

const HEIGHT = 200;
// Steps of days, for values that have no hours.
const DAYS = [1, 2, 7, 14, 28, 56, 91, 182, 364].map((d) => d * 86400);
const drawn = new Map<HTMLElement, uPlot>();

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim() || "#888";
}

const STROKES: Record<string, string> = {
  line: "blue",
  stopped: "stop",
  missed: "bad",
  before: "soft",
  expected: "soft",
};

export function shown(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined) return "unknown";
  // Small groups of people are drawn as the smallest that is told.
  if (unit === "members" && value > 0 && value <= 20) return "20 members or fewer";
  if (unit === "share") return `${+(value * 100).toPrecision(3)} %`;
  if (unit === "US dollars") return `$${value.toLocaleString("en", { maximumFractionDigits: 2 })}`;
  if (unit === "microseconds") return `${+(value / 1000).toPrecision(3)} ms`;
  return value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 2 : 0 });
}

function short(value: number, unit: string): string {
  if (unit === "share" || unit === "US dollars" || unit === "microseconds") return shown(value, unit);
  return Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

function read(figure: HTMLElement): Data | null {
  const text = figure.querySelector("script[type='application/json']")?.textContent;
  if (!text) return null;
  try {
    return JSON.parse(text) as Data;
  } catch {
    return null;
  }
}

function marks(data: Data): uPlot.Plugin {
  return {
    hooks: {
      draw: (u) => {
        const { ctx, bbox } = u;
        ctx.save();
        ctx.strokeStyle = colour("stop");
        ctx.setLineDash([4, 4]);
        for (const m of data.marks) {
          const x = u.valToPos(m.at, "x", true);
          if (x < bbox.left || x > bbox.left + bbox.width) continue;
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
        }
        ctx.restore();
      },
    },
  };
}

function draw(figure: HTMLElement): void {
  const data = read(figure);
  const picture = figure.querySelector<SVGElement>("svg.plot");
  if (!data || !picture || data.times.length < 2) return;
  const width = Math.max(240, Math.floor(figure.clientWidth));
  const own = Number(figure.dataset.height) || HEIGHT;
  const series: uPlot.Series[] = [{}];
  const columns: (number | null)[][] = [data.times];
  for (const l of data.lines) {
    const stroke = colour(STROKES[l.class] ?? "blue");
    const first = columns.length === 1;
    series.push({
      stroke,
      width: l.class === "before" || l.class === "expected" ? 1 : 1.6,
      dash: l.class === "before" || l.class === "expected" ? [4, 4] : undefined,
      fill: data.bars && first ? stroke : undefined,
      paths: data.bars && first ? uPlot.paths.bars?.({ size: [0.8, 60] }) : undefined,
      points: { show: data.times.length < 70 && !data.bars, size: 4 },
    });
    columns.push(l.values);
  }
  const bands: uPlot.Band[] = [];
  if (data.band) {
    const [low, high] = data.band;
    for (const values of [high, low]) {
      series.push({ width: 0, points: { show: false } });
      columns.push(values);
    }
    bands.push({ series: [columns.length - 2, columns.length - 1], fill: colour("band") });
  }
  const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  const gap = (data.times[1] ?? 0) - (data.times[0] ?? 0);
  const days = (data.times[data.times.length - 1]! - data.times[0]!) / 86400;
  const whole = data.lines.every((l) => l.values.every((v) => v === null || Number.isInteger(v)));
  const options: uPlot.Options = {
    width,
    height: own,
    tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "UTC"),
    series,
    bands,
    padding: [8, 22, 0, 0],
    scales: { x: { range: (_u, min, max) => (data.bars ? [min - gap / 2, max + gap / 2] : [min, max]) }, y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.06 : 1] } },
    axes: [
      { ...axis, size: 26, space: 70, incrs: gap >= 86400 ? DAYS : undefined, values: (_u, all) => all.map((v) => when(v, days > 1.5)) },
      {
        ...axis,
        size: 60,
        space: 34,
        incrs: whole ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 1e8] : undefined,
        values: (_u, all) => all.map((v) => short(v, data.unit)),
      },
    ],
    cursor: { y: false, sync: figure.dataset.sync ? { key: figure.dataset.sync } : undefined },
    legend: { show: false },
    hooks: { setCursor: [(u) => tell(figure, data, u)] },
    plugins: [marks(data)],
  };
  drawn.get(figure)?.destroy();
  const place = document.createElement("div");
  place.className = "live-plot";
  picture.before(place);
  const plot = new uPlot(options, columns as uPlot.AlignedData, place);
  plot.root.setAttribute("role", "img");
  plot.root.setAttribute("aria-label", data.title);
  picture.classList.add("replaced");
  drawn.set(figure, plot);
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function when(seconds: number, days: boolean): string {
  const d = new Date(seconds * 1000);
  const two = (n: number) => String(n).padStart(2, "0");
  const clock = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`;
  if (!days) return clock;
  const day = `${MONTHS[d.getUTCMonth()]} ${d.getUTCDate()}`;
  return clock === "00:00" ? day : `${day} ${clock}`;
}

// What is under the cursor, in words below the chart.
function tell(figure: HTMLElement, data: Data, u: uPlot): void {
  let caption = figure.querySelector("figcaption");
  if (!caption) {
    caption = document.createElement("figcaption");
    caption.className = "small";
    figure.append(caption);
  }
  let place = caption.querySelector<HTMLElement>(".read");
  if (!place) {
    place = document.createElement("span");
    place.className = "read";
    caption.append(place);
  }
  const i = u.cursor.idx;
  const at = i === null || i === undefined ? undefined : data.times[i];
  if (at === undefined || i === null || i === undefined) {
    place.textContent = "";
    return;
  }
  const values = data.lines.map((l) => `${data.lines.length > 1 ? `${l.name} ` : ""}${shown(l.values[i], data.unit)}`);
  const step = (data.times[1] ?? at) - (data.times[0] ?? at);
  const near = data.marks.filter((m) => Math.abs(m.at - at) <= step / 2).map((m) => m.label);
  place.textContent = [`${when(at, true)} UTC`, ...values, ...near].join(" · ");
}

export function drawAll(root: ParentNode): void {
  root.querySelectorAll<HTMLElement>("figure.chart").forEach((f) => {
    try {
      draw(f);
    } catch (e) {
      console.warn("a chart stays as the server drew it", e);
    }
  });
}

let waiting = 0;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = window.setTimeout(() => {
    for (const [figure, plot] of drawn) {
      if (figure.isConnected) plot.setSize({ width: Math.max(240, figure.clientWidth), height: plot.height });
      else drawn.delete(figure);
    }
  }, 150);
});
// Paper shows the pictures from the server, which scale with it.
