// Adds to pages that are whole without it: charts with a cursor, tables that sort, live parts that
// refresh themselves, keys.
import { drawAll } from "./plot";
import { sortable } from "./tables";
import { follow } from "./live";
import { keys } from "./keys";

document.documentElement.classList.add("js");
drawAll(document);
sortable(document);
follow();
keys();
