// Keys: `g` and a letter goes to a page, `/` to the search field, `t` changes light and dark, `?` helps.
export function keys(): void {
  let armed = false;
  const links = new Map<string, HTMLAnchorElement>();
  document.querySelectorAll<HTMLAnchorElement>("nav a[data-key]").forEach((a) => {
    if (a.dataset.key) links.set(a.dataset.key, a);
  });
  addEventListener("keydown", (e) => {
    const target = e.target as HTMLElement;
    if (e.ctrlKey || e.metaKey || e.altKey || target.closest("input, select, textarea")) return;
    if (armed && links.has(e.key)) {
      links.get(e.key)?.click();
      armed = false;
      return;
    }
    armed = e.key === "g";
    if (e.key === "/") {
      const field = document.querySelector<HTMLInputElement>("input[type=search], main input[type=text]");
      if (field) {
        e.preventDefault();
        field.focus();
      }
    } else if (e.key === "t") {
      document.querySelector<HTMLButtonElement>("#theme button")?.click();
    } else if (e.key === "?") {
      const help = document.querySelector<HTMLDetailsElement>("#keys");
      if (help) help.open = !help.open;
    }
  });
}
