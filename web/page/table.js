// Tables that people paste: commas, semicolons or tabs, quotes as spreadsheets write them.
import { FIELDS } from "./texts.js";

/** Rows of fields. */
export function rows(text) {
  const said = /^"?sep=([^\r\n"])"?(?:\r\n?|\n)/i.exec(text);
  if (said) text = text.slice(said[0].length);
  const first = text.split(/[\r\n]/, 1)[0];
  const separator = said?.[1] ?? ["\t", ";", ","].find((mark) => first.includes(mark)) ?? ",";
  const out = [];
  let row = [];
  let field = "";
  let quoted = false;
  const end = () => {
    row.push(field);
    field = "";
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') field += c;
      else if (text[i + 1] === '"') field += text[++i];
      else quoted = false;
    } else if (c === '"' && field.trim() === "") {
      quoted = true;
      field = "";
    } else if (c === separator) end();
    else if (c === "\n" || c === "\r") {
      if (c === "\r" && text[i + 1] === "\n") i++;
      end();
      out.push(row);
      row = [];
    } else field += c;
  }
  end();
  out.push(row);
  return out.filter((row) => row.some((value) => value.trim() !== ""));
}

const COLUMNS = [...FIELDS, "price"];
const ALIASES = { name: "title", product: "title", item: "title", cost: "price", "list price": "price" };

/** Products with prices as text. Throws sentences that name the row. */
export function products(text) {
  if (/[\uFFFD\0]/.test(text)) throw new Error("This is not UTF-8. Save the table as UTF-8.");
  const [head, ...body] = rows(text);
  if (!head) throw new Error("The table is empty. The first line names the columns, each further line is a product.");
  const columns = head.map((name) => {
    const plain = name.trim().toLowerCase();
    return ALIASES[plain] ?? plain;
  });
  for (const needed of ["title", "price"]) {
    if (!columns.includes(needed)) {
      throw new Error(`No column is called “${needed}”. The first line must name the columns, such as: title,price`);
    }
  }
  const twice = columns.find((name, at) => COLUMNS.includes(name) && columns.indexOf(name) !== at);
  if (twice) throw new Error(`Two columns are called “${twice}”. Rename one.`);
  const found = body.map((row, i) => {
    if (row.length !== columns.length) throw new Error(`Line ${i + 2} has ${row.length} fields, the first line names ${columns.length} columns.`);
    const product = {};
    columns.forEach((name, at) => {
      if (COLUMNS.includes(name)) product[name] = (row[at] ?? "").trim();
    });
    if (!product.price) throw new Error(`Line ${i + 2} has no price.`);
    if (!product.title) throw new Error(`Line ${i + 2} has no title.`);
    return product;
  });
  if (found.length < 2) throw new Error("At least two products are needed.");
  return Object.assign(found, { used: COLUMNS.filter((name) => columns.includes(name)), unused: head.filter((_, at) => !COLUMNS.includes(columns[at])) });
}

/** With fewer rows than this none can be spared. */
export const FEWEST = 20;

/**
 * Rows to train on, and one in ten that is set aside: training never sees it, so it shows what the
 * model makes of new products.
 */
export function split(rows) {
  const aside = (i) => rows.length >= FEWEST && i % 10 === 9;
  return { training: rows.filter((_, i) => !aside(i)), held: rows.filter((_, i) => aside(i)) };
}
