// Lets people sort tables by their columns.
export function sortable(root: ParentNode): void {
  root.querySelectorAll<HTMLTableElement>("table.sortable").forEach((table) => {
    table.querySelectorAll<HTMLTableCellElement>("thead th").forEach((th, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...Array.from(th.childNodes));
      th.append(button);
      button.addEventListener("click", () => sort(table, th, column));
    });
  });
}

function key(row: HTMLTableRowElement, column: number): string {
  const cell = row.cells[column];
  return cell?.dataset.sort ?? cell?.textContent?.trim() ?? "";
}

function sort(table: HTMLTableElement, th: HTMLTableCellElement, column: number): void {
  const body = table.tBodies[0];
  if (!body) return;
  const down = th.getAttribute("aria-sort") !== "descending";
  table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  th.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = Array.from(body.rows);
  rows.sort((a, b) => {
    const [x, y] = [key(a, column), key(b, column)];
    // What is unknown stands last, whichever way.
    if (x === "" || y === "") return x === y ? 0 : x === "" ? 1 : -1;
    const [m, n] = [Number(x), Number(y)];
    const order = Number.isNaN(m) || Number.isNaN(n) ? x.localeCompare(y) : m - n;
    return down ? -order : order;
  });
  body.append(...rows);
}
