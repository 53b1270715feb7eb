// The dashboard in a real browser: pages load clean at two widths, with and without scripts; what people do
// on them works. FISHWEIR_URL names a server over a world with an attack, FISHWEIR_CHROME the browser.
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import puppeteer from "puppeteer-core";

const base = process.env.FISHWEIR_URL;
const shots = process.env.FISHWEIR_SHOTS;
const PAGES = ["/", "/business", "/operations", "/incidents", "/rules", "/takeovers", "/campaigns", "/labels", "/explore", "/explore?metric=requests&by=route&with=previous", "/study?metric=requests&event=2026-10-06&before=28&after=7", "/catalogue", "/catalogue/dos_stopped_share", "/models", "/alerts"];
const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

let browser;
before(async () => {
  assert.ok(base, "FISHWEIR_URL is not set");
  browser = await puppeteer.launch({ executablePath: process.env.FISHWEIR_CHROME ?? "/usr/bin/chromium", args: FLAGS });
  if (shots) await mkdir(shots, { recursive: true });
});
after(async () => browser?.close());

async function open(path, { width = 1440, scripts = true, fresh = true } = {}) {
  const context = fresh ? await browser.createBrowserContext() : browser.defaultBrowserContext();
  const page = await context.newPage();
  await page.setViewport({ width, height: 900 });
  await page.setJavaScriptEnabled(scripts);
  const wrong = [];
  page.on("console", (m) => { if (m.type() === "error" || m.type() === "warn") wrong.push(m.text()); });
  page.on("pageerror", (e) => wrong.push(String(e)));
  page.on("requestfailed", (r) => { if (!r.url().endsWith("/live/stream")) wrong.push(`${r.url()} failed`); });
  page.on("response", (r) => { if (r.status() >= 400) wrong.push(`${r.url()} ${r.status()}`); });
  await page.goto(base + path, { waitUntil: "load" });
  return { page, wrong, close: () => context.close() };
}

const text = (page, selector) => page.$eval(selector, (e) => e.textContent.trim());

for (const width of [1440, 390]) {
  for (const scripts of [true, false]) {
    test(`every page loads clean at ${width} px ${scripts ? "with" : "without"} scripts`, async () => {
      for (const path of PAGES) {
        const { page, wrong, close } = await open(path, { width, scripts });
        await new Promise((done) => setTimeout(done, 50));
        assert.deepEqual(wrong, [], path);
        const facts = await page.$$eval("h1, main, nav a[aria-current]", (all) => all.map((e) => e.tagName));
        assert.ok(facts.includes("H1") && facts.includes("MAIN"), `${path}: ${facts}`);
        if (scripts) {
          const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(over <= 0, `${path} is ${over} px too wide at ${width} px`);
          const nameless = await page.$$eval("a, button, input:not([type=hidden]), select", (all) => all.filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length || e.closest("label"))).map((e) => e.outerHTML));
          assert.deepEqual(nameless, [], path);
        }
        if (shots) await page.screenshot({ path: `${shots}/${width}${scripts ? "" : "-plain"}${path.replace(/[^a-z0-9]+/gi, "_")}.png`, fullPage: true });
        await close();
      }
    });
  }
}

test("the first view is small", async () => {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  const client = await page.createCDPSession();
  await client.send("Network.enable");
  let bytes = 0;
  client.on("Network.loadingFinished", (e) => { bytes += e.encodedDataLength; });
  await page.goto(base + "/", { waitUntil: "networkidle0" });
  assert.ok(bytes > 5_000 && bytes < 100_000, `${bytes} bytes`);
  await context.close();
});

test("text stands out from its ground, light and dark", async () => {
  for (const theme of ["light", "dark"]) {
    const { page, close } = await open("/rules");
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    const low = await page.evaluate(() => {
      const rgb = (c) => c.match(/[\d.]+/g).slice(0, 3).map(Number);
      const light = (c) => { const [r, g, b] = rgb(c).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const ground = (e) => { for (let x = e; x; x = x.parentElement) { const c = getComputedStyle(x).backgroundColor; if (!/, 0\)$|transparent/.test(c)) return c; } return "rgb(255,255,255)"; };
      return Array.from(document.querySelectorAll("main *, header *")).filter((e) => Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.textContent.trim()) && !e.closest("svg, script, option")).map((e) => { const [a, b] = [light(getComputedStyle(e).color), light(ground(e))]; return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName + "." + e.className]; }).filter(([ratio]) => ratio < 4.5);
    });
    assert.deepEqual(low, [], theme);
    await close();
  }
});

test("the top target of the largest attack is three clicks away at most", async () => {
  const { page, close } = await open("/?period=2026-10");
  let clicks = 0;
  const click = async (selector) => { clicks += 1; await Promise.all([page.waitForNavigation(), page.click(selector)]); };
  await click("main a[href^='/incidents/dos-']");
  const routes = await page.$$eval("dl.facts dd a", (all) => all.map((a) => a.textContent));
  assert.ok(routes[0]?.startsWith("/"), `${routes}`);
  assert.ok((await text(page, "h1")).includes(routes[0]));
  assert.ok(clicks <= 3);
  assert.ok((await page.$$("figure.chart .uplot")).length === 1, "the chart has a cursor");
  await close();
});

test("a verdict is stored and shown", async () => {
  for (const scripts of [true, false]) {
    const { page, close } = await open("/incidents?period=2026-10", { scripts });
    await Promise.all([page.waitForNavigation(), page.click("tbody a[href^='/incidents/dos-']")]);
    await page.type("input[name=reviewer]", scripts ? "ana" : "bob");
    await page.type("input[name=reason]", "<b>seen</b> in the logs");
    await Promise.all([page.waitForNavigation(), page.click("button[value=attack]")]);
    const box = await text(page, "#verdict");
    assert.ok(box.includes(`${scripts ? "ana" : "bob"}: attack`), box);
    assert.ok(box.includes("<b>seen</b>"), "as text");
    await close();
  }
});

test("a click filters, a choice compares, the address keeps it, files come out", async () => {
  const { page, close } = await open("/explore?metric=requests&by=route&period=2026-10");
  await Promise.all([page.waitForNavigation(), page.click("section.board tbody tr:first-child a")]);
  const of = new URL(page.url()).searchParams.get("of");
  assert.ok(of.startsWith("/") && (await text(page, "h1")).includes(of));
  await page.select("select[name=with]", "previous");
  await Promise.all([page.waitForNavigation(), page.click("main form button.main")]);
  assert.equal(new URL(page.url()).searchParams.get("with"), "previous");
  assert.ok((await text(page, "main")).includes("Then:"));
  const csv = await page.evaluate(async () => (await (await fetch(document.querySelector("a[href*='format=csv']").href)).text()));
  assert.ok(csv.startsWith("period_start,period_end,label,value"), csv.slice(0, 80));
  const magic = await page.evaluate(async () => new TextDecoder().decode((await (await fetch(document.querySelector("a[href*='format=parquet']").href)).arrayBuffer()).slice(0, 4)));
  assert.equal(magic, "PAR1");
  await close();
});

test("tables sort, and what is unknown stays last", async () => {
  const { page, close } = await open("/rules?period=2026-10");
  const buttons = await page.$$("table.sortable thead th button");
  assert.ok(buttons.length > 4);
  await buttons[2].click();
  const order = await page.$$eval("table.sortable tbody tr td:nth-child(3)", (all) => all.map((c) => Number(c.dataset.sort)));
  assert.deepEqual(order, [...order].sort((a, b) => b - a));
  await close();
});

test("light and dark are chosen by hand, keys reach pages, paper is plain", async () => {
  const { page, close } = await open("/");
  await Promise.all([page.waitForNavigation(), page.click("#theme button")]);
  assert.equal(await page.$eval("html", (e) => e.dataset.theme), "dark");
  const ground = await page.$eval("body", (e) => getComputedStyle(e).backgroundColor);
  assert.notEqual(ground, "rgb(244, 246, 248)");
  await page.keyboard.press("g");
  await Promise.all([page.waitForNavigation(), page.keyboard.press("i")]);
  assert.equal(new URL(page.url()).pathname, "/incidents");
  await page.goto(base + "/", { waitUntil: "load" });
  await page.emulateMediaType("print");
  assert.equal(await page.$eval("header.top", (e) => getComputedStyle(e).display), "none");
  const shown = await page.$$eval("figure.chart svg.plot", (all) => all.every((e) => getComputedStyle(e).display !== "none"));
  assert.ok(shown, "paper has the pictures from the server");
  const pdf = await page.pdf();
  assert.ok(pdf.length > 5_000);
  await close();
});

test("the keyboard alone gets through", async () => {
  const { page, close } = await open("/");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  for (let i = 0; i < 3; i += 1) await page.keyboard.press("Tab");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, "none");
  await close();
});
