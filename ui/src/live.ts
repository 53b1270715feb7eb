// Keeps the live part of a page fresh: at once when something opens or closes, else every few seconds.
import { drawAll } from "./plot";
import { sortable } from "./tables";

const EVERY_MS = 5000;

export function follow(): void {
  if (!document.querySelector("[data-live]")) return;
  let busy = false;
  const refresh = async () => {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const [now, next] = [document.querySelector("[data-live]"), fresh.querySelector("[data-live]")];
      if (now && next) {
        now.replaceWith(next);
        drawAll(next);
        sortable(next);
      }
      say("");
    } catch {
      say("The server does not answer; what stands here may be old.");
    } finally {
      busy = false;
    }
  };
  const stream = new EventSource("/api/v1/live/stream");
  stream.addEventListener("said", () => void refresh());
  setInterval(() => void refresh(), EVERY_MS);
}

function say(text: string): void {
  const place = document.querySelector("#notice");
  if (place) place.textContent = text;
}
